"""K-quants against the format's own arithmetic, done by hand and by the gguf package's de-quantiser."""

from __future__ import annotations

from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Ggml

from luthier.export.gguf.kquants import quantise_q4_k, quantise_q5_k, quantise_q6_k
from luthier.export.gguf.tensor_types import fitting, num_bytes, tensor_type

KINDS = [(quantise_q4_k, Ggml.Q4_K), (quantise_q5_k, Ggml.Q5_K), (quantise_q6_k, Ggml.Q6_K)]


def some_rows(num_rows: int = 24, width: int = 512) -> Any:
    rng = np.random.default_rng(0)
    return (rng.standard_normal((num_rows, width)) * rng.uniform(0.01, 2, (num_rows, 1))).astype(np.float32)


@pytest.mark.parametrize(("quantise", "kind"), KINDS)
def test_the_size_is_the_formats(quantise: Any, kind: Ggml) -> None:
    rows = some_rows()
    assert quantise(rows).nbytes == num_bytes(kind, rows.shape)


@pytest.mark.parametrize(("quantise", "kind"), KINDS)
def test_zero_and_constant_rows(quantise: Any, kind: Ggml) -> None:
    rows = np.zeros((2, 256), np.float32)
    rows[1] = 0.5
    found = gguf.dequantize(quantise(rows), kind)
    assert not found[0].any()
    np.testing.assert_allclose(found[1], 0.5, atol=1e-3)


@pytest.mark.parametrize(("quantise", "kind"), KINDS)
def test_what_is_on_the_grid_is_exact(quantise: Any, kind: Ggml) -> None:
    """Numbers that the format has come back as they were."""
    grid = gguf.dequantize(quantise(some_rows()), kind)
    again = gguf.dequantize(quantise(grid), kind)
    assert np.sqrt(((again - grid) ** 2).mean() / (grid**2).mean()) < 0.02


def test_errors_are_those_of_the_number_of_bits() -> None:
    """Each bit halves the error; the search over scales beats the plain rounding of the older types."""
    rows = some_rows()

    def error(encoded: Any, kind: Ggml) -> float:
        return float(np.sqrt(((gguf.dequantize(encoded, kind) - rows) ** 2).mean() / (rows**2).mean()))

    four, five, six = (error(quantise(rows), kind) for quantise, kind in KINDS)
    assert four < error(gguf.quantize(rows, Ggml.Q4_0), Ggml.Q4_0)
    assert five < error(gguf.quantize(rows, Ggml.Q5_1), Ggml.Q5_1)
    assert 0.4 < five / four < 0.6
    assert 0.4 < six / five < 0.6


def test_a_block_by_hand() -> None:
    """256 numbers of which each 32 run from 0 to 15 in whole steps: scale 1 for all, no minimum."""
    row = np.tile(np.concatenate([np.arange(16), np.arange(16)]), 8).astype(np.float32)[None]
    (block,) = quantise_q4_k(row)
    assert block[:2].view(np.float16)[0] == np.float16(1 / 63)
    assert list(block[4:8]) == [63] * 4 or [b & 63 for b in block[4:8]] == [63] * 4
    np.testing.assert_allclose(gguf.dequantize(block[None], Ggml.Q4_K)[0], row[0], atol=2e-2)


def test_widths_fall_back_as_in_llama_cpp() -> None:
    assert [fitting(Ggml.Q4_K, w) for w in (512, 576, 80)] == [Ggml.Q4_K, Ggml.Q5_0, Ggml.F16]
    assert [fitting(Ggml.Q6_K, w) for w in (512, 576)] == [Ggml.Q6_K, Ggml.Q8_0]
    assert fitting(Ggml.Q8_0, 80) is Ggml.F16
    assert tensor_type("blk.0.attn_norm.weight", (512,), "q4_k_m", num_blocks=8, is_tied=False) is Ggml.F32
    assert tensor_type("blk.0.attn_qkv.weight", (9, 512), "q4_k_m", num_blocks=8, is_tied=False) is Ggml.Q5_K
