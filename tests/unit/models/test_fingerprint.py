"""Whatever changes in weights, the fingerprint changes; and nothing else changes it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.models.fingerprint import fingerprint

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.uint8, torch.int64)
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def weights(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"a": (torch.randn(5, 7) * 50).to(dtype), "b": (torch.randn(3) * 50).to(dtype)}


@given(st.sampled_from(DTYPES), st.integers(0, 34), st.integers(0, 63))
@settings(max_examples=60, deadline=None)
def test_any_single_bit(dtype: torch.dtype, place: int, bit: int) -> None:
    tensors = weights(dtype)
    before = fingerprint(tensors)
    size = tensors["a"].element_size()
    integers = tensors["a"].view(-1).view(BITS[size])
    number = bit % (8 * size)
    mask = -(2**number) if number == 8 * size - 1 and size > 1 else 2**number
    integers[place] ^= mask
    assert fingerprint(tensors) != before


@pytest.mark.parametrize("distance", [1, 65_521, 2 * 65_521, 70_000])
def test_two_values_exchanged(distance: int) -> None:
    values = torch.arange(140_000, dtype=torch.float32)
    swapped = values.clone()
    swapped[7], swapped[7 + distance] = values[7 + distance], values[7]
    assert fingerprint({"a": values}) != fingerprint({"a": swapped})


def test_names_shapes_and_types_count() -> None:
    tensors = weights()
    others = [
        {"c": tensors["a"], "b": tensors["b"]},
        {"a": tensors["a"].view(7, 5), "b": tensors["b"]},
        {"a": tensors["a"]},
        {"a": tensors["a"].view(torch.int32), "b": tensors["b"]},
        {"a": tensors["a"], "b": -tensors["b"]},
    ]
    assert len({fingerprint(some) for some in (tensors, *others)}) == 6


def test_order_layout_and_gradient_do_not_count() -> None:
    tensors = weights()
    same = {"b": tensors["b"].clone(), "a": tensors["a"].t().contiguous().t().requires_grad_()}
    assert fingerprint(same) == fingerprint(tensors)


def test_minus_zero_and_nan_are_values_like_others() -> None:
    zero = torch.zeros(4)
    nan = torch.full((4,), float("nan"))
    assert fingerprint({"a": zero}) != fingerprint({"a": -zero})
    assert fingerprint({"a": nan}) == fingerprint({"a": nan.clone()})
