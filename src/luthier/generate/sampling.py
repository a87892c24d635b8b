"""Choosing the next token of each row: greedy or drawn, with a source of randomness per row.

A row's draw depends on its own logits, settings and generator alone, so an answer repeats whatever else is in the batch.

Shape letters: R rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class SamplingSettings(NamedTuple):
    """How one row chooses; meanings as in `Request`. `generator` (on the CPU) is needed where temperature > 0."""

    temperature: float
    top_p: float
    generator: torch.Generator | None


class Choice(NamedTuple):
    """The chosen tokens, and log p of each under the undistorted model (temperature 1, all tokens), float32."""

    ids_R: Tensor
    logprobs_R: Tensor


def choose_tokens(logits_RV: Tensor, settings: Sequence[SamplingSettings]) -> Choice:
    """One token per row."""
    logprobs_RV = torch.log_softmax(logits_RV.float(), dim=-1)
    ids_R = logprobs_RV.argmax(dim=-1)
    drawing = [row for row, setting in enumerate(settings) if setting.temperature > 0]
    if drawing:
        rows = torch.tensor(drawing, device=logits_RV.device)
        ids_R[rows] = _draw(logprobs_RV[rows], [settings[row] for row in drawing])
    return Choice(ids_R, logprobs_RV.gather(1, ids_R[:, None])[:, 0])


def keep_nucleus(probabilities_RV: Tensor, top_p_R: Tensor) -> Tensor:
    """Zero all but the fewest most probable tokens that together reach `top_p` (Holtzman et al. 2020, section 3.1)."""
    sorted_RV, order_RV = probabilities_RV.sort(dim=-1, descending=True)
    reached_before_RV = sorted_RV.cumsum(dim=-1) - sorted_RV
    outside_RV = reached_before_RV >= top_p_R[:, None]
    outside_RV[:, 0] = False  # rounding must never leave a row without a token
    return torch.zeros_like(probabilities_RV).scatter(1, order_RV, sorted_RV.masked_fill(outside_RV, 0.0))


def _draw(logprobs_RV: Tensor, settings: Sequence[SamplingSettings]) -> Tensor:
    """Inverse of the cumulative distribution at one uniform number per row.

    The cumulative sum runs in vocabulary order, not in order of probability: then the rounding differences between batch
    shapes move the borders by a rounding error only, and cannot swap the places of two near-equal tokens.
    """
    device = logprobs_RV.device
    temperature_R = torch.tensor([s.temperature for s in settings], device=device)
    probabilities_RV = torch.softmax(logprobs_RV / temperature_R[:, None], dim=-1)
    if any(s.top_p < 1 for s in settings):
        top_p_R = torch.tensor([s.top_p for s in settings], device=device)
        nucleus_RV = keep_nucleus(probabilities_RV, top_p_R)
        probabilities_RV = torch.where(top_p_R[:, None] < 1, nucleus_RV, probabilities_RV)
    # In double: a float32 sum over 100 000 tokens is off by more than the rare tokens weigh.
    cumulative_RV = probabilities_RV.double().cumsum(dim=-1)
    uniform_R = torch.stack([torch.rand((), generator=s.generator, dtype=torch.float64) for s in settings]).to(device)
    threshold_R1 = (uniform_R * cumulative_RV[:, -1])[:, None]
    # The first token whose cumulative sum exceeds the threshold; a token of probability 0 never is.
    return torch.searchsorted(cumulative_RV, threshold_R1, right=True)[:, 0].clamp(max=logprobs_RV.shape[1] - 1)
