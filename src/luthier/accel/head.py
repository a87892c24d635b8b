"""Log-probabilities of targets from hidden states, tile by tile: the logits of all positions never exist at once.

For a target y and a hidden state h:  log p(y) = h·W_y − logsumexp_v(h·W_v).

With a frozen head the only gradient is  d log p / d h = W_y − softmax(h Wᵀ) W, one row per target, which does not depend on
what comes later: it is written in the forward pass and scaled in the backward pass, so the head's product is done twice
in all (4·S·V·H) instead of three times. A trained head is recomputed in the backward pass (6·S·V·H).

Shape letters: S supervised positions, R rows of one tile (r of a part of it), V vocabulary, H hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from luthier.objectives.base import Scores, Want

TILE_BYTES = 64 * 1024**2
"""Size of one tile of fp32 logits: small enough for any card, large enough to keep its units busy."""

CACHE_BYTES = 4 * 1024**2
"""fp32 logits that a CPU takes through all passes of a softmax at once: they stay in its cache from one pass to the next."""


@dataclass(frozen=True, slots=True)
class HeadShape:
    """What models do to logits: ``softcap · tanh(scale · logits / softcap)``; None and 1 leave them alone."""

    softcap: float | None = None
    scale: float = 1.0


def tile_rows(vocab_size: int) -> int:
    """Rows per tile."""
    return max(16, TILE_BYTES // (4 * vocab_size))


def shaped_logits(hidden_RH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, shape: HeadShape) -> Tensor:
    """fp32 logits of one tile [R, V], as transformers computes them: product in the compute type, then shaped."""
    logits_RV = torch.nn.functional.linear(hidden_RH, weight_VH, bias_V)
    if shape.scale != 1.0:
        logits_RV = logits_RV * shape.scale
    if shape.softcap is not None:
        logits_RV = torch.tanh(logits_RV / shape.softcap) * shape.softcap
    return logits_RV.float()


def _to_unit_gradient(logits_RV: Tensor, target_R1: Tensor) -> Tensor:
    """Replace logits by softmax − one-hot(target) in place; returns log p of the targets [R], in fp32."""
    at_once = logits_RV.shape[0]
    if logits_RV.device.type == "cpu":
        at_once = max(1, CACHE_BYTES // (4 * logits_RV.shape[1]))
    logprobs = []
    for logits_rV, target_r1 in zip(logits_RV.split(at_once), target_R1.split(at_once), strict=True):
        logp_rV = logits_rV.log_softmax(dim=1, dtype=torch.float32)
        logprobs.append(logp_rV.gather(1, target_r1)[:, 0])
        logits_rV.copy_(logp_rV.exp_().scatter_add_(1, target_r1, logp_rV.new_full(target_r1.shape, -1.0)))
    return torch.cat(logprobs)


class _FrozenHeadLogprob(torch.autograd.Function):
    """log p of targets under a frozen head; the gradient by hidden state is made in forward."""

    @staticmethod
    def forward(ctx: Any, hidden_SH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, target_S: Tensor) -> Tensor:
        logprob_S = torch.empty(hidden_SH.shape[0], dtype=torch.float32, device=hidden_SH.device)
        unit_SH = torch.empty_like(hidden_SH)
        for start in range(0, hidden_SH.shape[0], tile_rows(weight_VH.shape[0])):
            rows = slice(start, start + tile_rows(weight_VH.shape[0]))
            target_R1 = target_S[rows, None]
            logits_RV = torch.nn.functional.linear(hidden_SH[rows], weight_VH, bias_V)
            logprob_S[rows] = _to_unit_gradient(logits_RV, target_R1)
            torch.mm(logits_RV, weight_VH, out=unit_SH[rows])
        ctx.save_for_backward(unit_SH)
        return logprob_S

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        (grad_S,) = grad_outputs
        (unit_SH,) = ctx.saved_tensors
        return unit_SH * -grad_S[:, None].to(unit_SH.dtype), None, None, None


def _tile(
    hidden_RH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, target_R: Tensor, shape: HeadShape, want: Want
) -> tuple[Tensor | None, ...]:
    logp_RV = shaped_logits(hidden_RH, weight_VH, bias_V, shape).log_softmax(dim=1)
    return (
        logp_RV.gather(1, target_R[:, None])[:, 0] if want.logprob else None,
        -(logp_RV.exp() * logp_RV).sum(dim=1) if want.entropy else None,
        logp_RV.mean(dim=1) if want.vocab_mean else None,
    )


def _score_tiles(
    hidden_SH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, target_S: Tensor, shape: HeadShape, want: Want
) -> list[Tensor | None]:
    """Every wanted reduction, each tile recomputed in the backward pass. The reference of the frozen-head path."""
    step = tile_rows(weight_VH.shape[0])
    tiles = []
    for start in range(0, max(1, hidden_SH.shape[0]), step):
        rows = slice(start, start + step)
        arguments = (hidden_SH[rows], weight_VH, bias_V, target_S[rows], shape, want)
        grad = torch.is_grad_enabled()
        tiles.append(checkpoint(_tile, *arguments, use_reentrant=False) if grad else _tile(*arguments))
    return [torch.cat(list(parts)) if parts[0] is not None else None for parts in zip(*tiles, strict=True)]


def score_hidden(
    hidden_SH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, target_S: Tensor, want: Want, shape: HeadShape
) -> Scores:
    """Everything that `want` asks for, from the last hidden states at the supervised positions."""
    hidden = hidden_SH if want.hidden else None
    if not (want.logprob or want.entropy or want.vocab_mean):
        return Scores(hidden_SH=hidden)
    only_logprob = want.logprob and not (want.entropy or want.vocab_mean)
    autocast = torch.is_autocast_enabled(hidden_SH.device.type)
    frozen = not weight_VH.requires_grad and shape == HeadShape() and not autocast
    if only_logprob and frozen and torch.is_grad_enabled() and hidden_SH.requires_grad:
        logprob_S: Tensor = _FrozenHeadLogprob.apply(hidden_SH, weight_VH, bias_V, target_S)  # type: ignore[assignment]
        return Scores(logprob_S=logprob_S, hidden_SH=hidden)
    logprob, entropy, vocab_mean = _score_tiles(hidden_SH, weight_VH, bias_V, target_S, shape, want)
    return Scores(logprob_S=logprob, entropy_S=entropy, vocab_mean_S=vocab_mean, hidden_SH=hidden)
