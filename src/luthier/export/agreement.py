"""How far the predictions of two models lie apart on the same token ids: what an export is judged by.

Shape letters: P positions, V vocabulary, T tokens of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from luthier.evaluation.statistics.bootstrap import bootstrap_limits

MOST_TOKENS = 384
"""Of one row: what is longer is cut, for the comparison alone."""

LOGIT_BYTES = 300_000_000
"""Logits of the live model that are kept for comparison."""


class ProbeRow(NamedTuple):
    """A real row of the run as token ids, with what of it is learnt."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says to rows.

    Attributes:
        logits_PV: Of the first positions, as many as are kept.
        nll: Per row, −Σ log p of its learnt tokens.
        counts: Per row, how many those are.
    """

    logits_PV: Tensor
    nll: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Agreement:
    """How another model's predictions compare with the live one's.

    Attributes:
        kl: Mean of KL(live ‖ other), nats per position.
        kl_max: Largest at one position.
        max_logit: Largest difference of a logit.
        top1: Share of positions with the same most probable token.
        num_positions: Compared.
        perplexity_live: On the learnt tokens of the rows; None without any.
        perplexity: The other's.
        nll_loss: Mean of how much less probable the other finds a learnt token, nats.
        nll_low, nll_high: Its 95 % interval over rows.
    """

    kl: float
    kl_max: float
    max_logit: float
    top1: float
    num_positions: int
    num_rows: int
    perplexity_live: float | None = None
    perplexity: float | None = None
    nll_loss: float | None = None
    nll_low: float | None = None
    nll_high: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def sentence(self) -> str:
        """The figures in words."""
        words = (
            f"KL {self.kl:.2g} nats, same most probable token at {100 * self.top1:.1f} % of {self.num_positions} positions, "
            f"largest logit difference {self.max_logit:.2g}"
        )
        if self.nll_loss is None or self.perplexity_live is None:
            return words
        assert self.nll_low is not None
        assert self.nll_high is not None
        low, high = (100 * (np.exp(v) - 1) for v in (self.nll_low, self.nll_high))
        return (
            f"{words}; perplexity on {self.num_rows} held-out rows {self.perplexity_live:.3f} → {self.perplexity:.3f} "
            f"({100 * (np.exp(self.nll_loss) - 1):+.2f} %, 95 % interval {low:+.2f} to {high:+.2f} %)"
        )


@torch.no_grad()
def predict(model: Any, rows: Sequence[ProbeRow], on_row: Callable[[], None] | None = None) -> Predictions:
    """Plain forwards, one row at a time, without any of Luthier's fast paths: the reference is what everybody computes."""
    device = next(model.parameters()).device
    kept: list[Tensor] = []
    kept_bytes = 0
    nll: list[float] = []
    counts: list[int] = []
    for row in rows:
        ids_1T = torch.tensor([row.ids[:MOST_TOKENS]], device=device)
        logits_TV = model(input_ids=ids_1T, use_cache=False).logits[0].float().cpu()
        logp_T = logits_TV[:-1].log_softmax(-1).gather(1, ids_1T[0, 1:, None].cpu())[:, 0]
        trained_T = torch.tensor(row.trained[1:MOST_TOKENS])
        nll.append(-float(logp_T[trained_T].double().sum()))
        counts.append(int(trained_T.sum()))
        room = (LOGIT_BYTES - kept_bytes) // (4 * logits_TV.shape[1])
        if room > 0:
            kept.append(logits_TV[:room].clone())
            kept_bytes += kept[-1].numel() * 4
        if on_row is not None:
            on_row()
    return Predictions(torch.cat(kept), tuple(nll), tuple(counts))


def compare(live: Predictions, other: Predictions) -> Agreement:
    """Figures of `other` against `live`; an NaN anywhere makes them NaN, which no limit lets pass."""
    width = min(live.logits_PV.shape[1], other.logits_PV.shape[1])  # rows that pad a vocabulary mean nothing
    sums: list[Tensor] = []
    largest, equal = 0.0, 0
    for a, b in zip(live.logits_PV.split(64), other.logits_PV.split(64), strict=True):
        p, q = a[:, :width].double().log_softmax(-1), b[:, :width].double().log_softmax(-1)
        sums.append((p.exp() * (p - q)).sum(-1))
        difference = float((a[:, :width] - b[:, :width]).abs().max())
        largest = difference if difference != difference else max(largest, difference)
        equal += int((a[:, :width].argmax(-1) == b[:, :width].argmax(-1)).sum())
    kl_P = torch.cat(sums)
    figures = Agreement(
        kl=max(float(kl_P.mean()), 0.0) if not kl_P.isnan().any() else float("nan"),
        kl_max=float(kl_P.max()),
        max_logit=largest,
        top1=equal / len(kl_P),
        num_positions=len(kl_P),
        num_rows=len(live.nll),
    )
    return _with_perplexity(figures, live, other)


def _with_perplexity(figures: Agreement, live: Predictions, other: Predictions) -> Agreement:
    used = [i for i, count in enumerate(live.counts) if count]
    if not used:
        return figures
    weights = np.array([live.counts[i] for i in used], dtype=np.float64)
    ours, theirs = (np.array([side.nll[i] for i in used]) / weights for side in (live, other))
    mean_live, mean_other = (float(np.average(side, weights=weights)) for side in (ours, theirs))
    low, high = (float(v) for v in bootstrap_limits(theirs - ours, weights)) if len(used) > 1 else (float("nan"),) * 2
    return Agreement(
        **(
            figures.to_json()
            | {
                "num_rows": len(used),
                "perplexity_live": float(np.exp(mean_live)),
                "perplexity": float(np.exp(mean_other)),
                "nll_loss": mean_other - mean_live,
                "nll_low": low,
                "nll_high": high,
            }
        )
    )
