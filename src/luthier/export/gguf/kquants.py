"""K-quants: super-blocks of 256 numbers whose scales are quantised too. The search is llama.cpp's, over all blocks at once.

Written from the format's description and the reference's arithmetic (ggml-quants.c: quantize_row_q4_K_ref and its like); what
comes out is read by the `gguf` package's de-quantiser, which is independent of this file.

Shape letters: B super-blocks, S sub-blocks, N numbers of a sub-block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SUPER_BLOCK = 256
_BLOCKS_AT_ONCE = 1024
_TINY = np.float32(1e-15)

Floats = NDArray[Any]
Bytes = NDArray[Any]


def quantise_q4_k(rows: Floats) -> Bytes:
    """4-bit numbers, a scale and a minimum for each 32: 4.5 bits each. Rows [R, 256 k] become bytes [R, 144 k]."""
    return _by_chunks(rows, _q4_k_blocks)


def quantise_q5_k(rows: Floats) -> Bytes:
    """5-bit numbers, a scale and a minimum for each 32: 5.5 bits each. Rows [R, 256 k] become bytes [R, 176 k]."""
    return _by_chunks(rows, _q5_k_blocks)


def quantise_q6_k(rows: Floats) -> Bytes:
    """6-bit numbers around zero, a scale for each 16: 6.56 bits each. Rows [R, 256 k] become bytes [R, 210 k]."""
    return _by_chunks(rows, _q6_k_blocks)


def _by_chunks(rows: Floats, quantise: Any) -> Bytes:
    blocks = np.ascontiguousarray(rows, dtype=np.float32).reshape(-1, SUPER_BLOCK)
    parts = [quantise(blocks[i : i + _BLOCKS_AT_ONCE]) for i in range(0, len(blocks), _BLOCKS_AT_ONCE)]
    return np.concatenate(parts).reshape(rows.shape[0], -1)


def _q4_k_blocks(blocks: Floats) -> Bytes:
    header, levels_BSN = _scaled_levels(blocks, 15, first=-1.0, num_steps=20)
    pairs = levels_BSN.reshape(-1, 4, 2, 32)
    packed = pairs[:, :, 0] | (pairs[:, :, 1] << 4)
    return np.concatenate([header, packed.reshape(len(blocks), -1)], axis=1)


def _q5_k_blocks(blocks: Floats) -> Bytes:
    header, levels_BSN = _scaled_levels(blocks, 31, first=-0.5, num_steps=15)
    pairs = (levels_BSN & 15).reshape(-1, 4, 2, 32)
    low = pairs[:, :, 0] | (pairs[:, :, 1] << 4)
    shifts = np.arange(8, dtype=np.uint8)[None, :, None]
    high = np.bitwise_or.reduce((levels_BSN >> 4) << shifts, axis=1)
    return np.concatenate([header, high, low.reshape(len(blocks), -1)], axis=1)


def _scaled_levels(blocks: Floats, most: int, *, first: float, num_steps: int) -> tuple[Bytes, Bytes]:
    """Header bytes [B, 16] (two fp16, 12 bytes of 6-bit scales and minima) and levels [B, 8, 32]."""
    x_BSN = blocks.reshape(-1, 8, 32)
    flat = x_BSN.reshape(-1, 32)
    squares = np.ascontiguousarray((flat * flat).T).sum(axis=0)[:, None]
    mean_square = np.sqrt(squares / np.float32(32))
    scales, minima = _fit_scale_and_minimum(flat, mean_square + np.abs(flat), most, first, num_steps)
    scales_BS, minima_BS = scales.reshape(-1, 8), minima.reshape(-1, 8)
    d, steps_BS = _six_bits(scales_BS)
    d_min, min_steps_BS = _six_bits(minima_BS)
    scale_BS1 = (d.astype(np.float32) * steps_BS)[..., None]
    min_BS1 = (d_min.astype(np.float32) * min_steps_BS)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = np.rint((x_BSN + min_BS1) / scale_BS1)
    levels = np.where(scale_BS1 == 0, np.float32(0), levels)
    packed = _pack_six_bits(steps_BS.astype(np.uint8), min_steps_BS.astype(np.uint8))
    header = np.concatenate([d.view(np.uint8), d_min.view(np.uint8), packed], axis=1)
    return header, np.clip(levels, 0, most).astype(np.uint8)


def _six_bits(values_BS: Floats) -> tuple[NDArray[np.float16], Floats]:
    """A factor [B, 1] in fp16, and integers up to 63 that it multiplies."""
    largest = np.maximum(values_BS.max(axis=1, keepdims=True), 0)
    with np.errstate(divide="ignore"):
        inverse = np.where(largest > 0, np.float32(63) / largest, np.float32(0))
    steps = np.clip(np.rint(inverse * values_BS), 0, 63)
    return (largest / np.float32(63)).astype(np.float16), steps.astype(np.float32)


def _pack_six_bits(scales_B8: Bytes, minima_B8: Bytes) -> Bytes:
    """Twelve bytes: low six bits of the first four of each, the last four split into nibbles and spare bits."""
    low = scales_B8[:, :4] | ((scales_B8[:, 4:] >> 4) << 6)
    middle = minima_B8[:, :4] | ((minima_B8[:, 4:] >> 4) << 6)
    high = (scales_B8[:, 4:] & 15) | ((minima_B8[:, 4:] & 15) << 4)
    return np.concatenate([low, middle, high], axis=1)


def _fit_scale_and_minimum(
    x_MN: Floats, weight_MN: Floats, most: int, first: float, num_steps: int
) -> tuple[Floats, Floats]:
    """Scale and (negated) minimum of each sub-block with the least weighted squared error over a row of candidates.

    A better candidate moves the minimum that the next ones are measured from. Numbers stand along the first axis here, so that
    sums are made one after the other, as in the reference: in another order they round otherwise.
    """
    x, weight = np.ascontiguousarray(x_MN.T), np.ascontiguousarray(weight_MN.T)
    minimum, high = np.minimum(x.min(axis=0), 0), x.max(axis=0)
    is_flat = high == minimum
    sum_w, sum_x = weight.sum(axis=0), (weight * x).sum(axis=0)

    def levels_at(numerator: Any) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.rint(numerator / (high - minimum) * (x - minimum))
        return np.clip(np.nan_to_num(steps, nan=0.0), 0, most)

    def error_of(scale: Floats, offset: Floats, levels: Floats) -> Floats:
        return (weight * np.square(scale * levels + offset - x)).sum(axis=0)

    with np.errstate(divide="ignore"):
        scale = 1 / (np.float32(most) / (high - minimum))
    best = error_of(scale, minimum, levels_at(np.float32(most)))
    for step in range(num_steps + 1):
        levels = levels_at(np.float32(first) + np.float32(0.1) * np.float32(step) + np.float32(most))
        weighted = weight * levels
        sum_l, sum_l2, sum_xl = weighted.sum(axis=0), (weighted * levels).sum(axis=0), (weighted * x).sum(axis=0)
        determinant = sum_w * sum_l2 - sum_l * sum_l
        usable = determinant > 0
        safe = np.where(usable, determinant, np.float32(1))
        own_scale = (sum_w * sum_xl - sum_x * sum_l) / safe
        own_minimum = (sum_l2 * sum_x - sum_l * sum_xl) / safe
        positive = own_minimum > 0
        own_scale = np.where(positive, sum_xl / np.where(sum_l2 > 0, sum_l2, np.float32(1)), own_scale)
        own_minimum = np.where(positive, np.float32(0), own_minimum)
        error = error_of(own_scale, own_minimum, levels)
        better = usable & (error < best)
        scale, minimum = np.where(better, own_scale, scale), np.where(better, own_minimum, minimum)
        best = np.where(better, error, best)
    return np.where(is_flat, np.float32(0), scale).astype(np.float32), -minimum.astype(np.float32)


def _q6_k_blocks(blocks: Floats) -> Bytes:
    x_BSN = blocks.reshape(-1, 16, 16)
    scales_BS = _fit_scale(x_BSN.reshape(-1, 16), 32).reshape(-1, 16)
    at = np.abs(scales_BS).argmax(axis=1)[:, None]
    largest = np.take_along_axis(scales_BS, at, axis=1)
    is_zero = np.abs(largest) < _TINY
    inverse = np.where(is_zero, np.float32(0), np.float32(-128) / np.where(is_zero, np.float32(1), largest))
    d = np.where(is_zero, np.float32(0), 1 / np.where(is_zero, np.float32(1), inverse)).astype(np.float16)
    steps_BS = np.clip(np.rint(inverse * scales_BS), -128, 127)
    scale_BS1 = (d.astype(np.float32) * steps_BS)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = np.rint(x_BSN / scale_BS1)
    levels = np.where(scale_BS1 == 0, np.float32(0), levels)
    levels = (np.clip(levels, -32, 31) + 32).astype(np.uint8)
    quarters = levels.reshape(-1, 2, 4, 32)
    nibbles = quarters & 15
    low = np.stack([nibbles[:, :, 0] | (nibbles[:, :, 2] << 4), nibbles[:, :, 1] | (nibbles[:, :, 3] << 4)], axis=2)
    shifts = np.array([0, 2, 4, 6], dtype=np.uint8)[None, None, :, None]
    high = np.bitwise_or.reduce((quarters >> 4) << shifts, axis=2)
    count = len(blocks)
    parts = [
        low.reshape(count, 128),
        high.reshape(count, 64),
        steps_BS.astype(np.int8).view(np.uint8),
        d.view(np.uint8),
    ]
    return np.where(is_zero, np.uint8(0), np.concatenate(parts, axis=1))


def _fit_scale(x_MN: Floats, most: int) -> Floats:
    """The scale of each sub-block, signed, with the least squared error weighted by x²; sums as in the other search."""
    x = np.ascontiguousarray(x_MN.T)
    extreme = np.take_along_axis(x, np.abs(x).argmax(axis=0)[None], axis=0)[0]
    is_zero = np.abs(extreme) < _TINY
    safe = np.where(is_zero, np.float32(1), extreme)
    weight = x * x

    def sums(numerator: Any) -> tuple[Floats, Floats]:
        levels = np.clip(np.rint(numerator / safe * x), -most, most - 1)
        return (weight * x * levels).sum(axis=0), (weight * levels * levels).sum(axis=0)

    sum_xl, sum_l2 = sums(np.float32(-most))
    scale = np.where(sum_l2 > 0, sum_xl / np.where(sum_l2 > 0, sum_l2, np.float32(1)), np.float32(0))
    best = scale * sum_xl
    for step in (*range(-9, 0), *range(1, 10)):
        sum_xl, sum_l2 = sums(-(np.float32(most) + np.float32(0.1) * np.float32(step)))
        better = (sum_l2 > 0) & (sum_xl * sum_xl > best * sum_l2)
        own = sum_xl / np.where(sum_l2 > 0, sum_l2, np.float32(1))
        scale, best = np.where(better, own, scale), np.where(better, own * sum_xl, best)
    return np.where(is_zero, np.float32(0), scale).astype(np.float32)
