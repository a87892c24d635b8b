"""Lengths of rows in tokens, and what each limit on them would cost: rows, and answer tokens.

Where there are many rows a random sample stands for them, and every figure comes with a bound that holds with 95 % probability:
for shares of rows the Dvoretzky-Kiefer-Wolfowitz bound (Massart 1990), which holds for all limits at once, whatever the lengths
are; for shares of tokens 1.96 standard errors of the ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.data.length_bins import length_histogram
from luthier.data.report import LengthBin

_Z = 1.96
_SMALLEST_LIMIT = 64


class RowLength(NamedTuple):
    """One row after tokenisation.

    Attributes:
        longest: Tokens of its longest sequence (a row may give several).
        num_tokens: Tokens of all its sequences.
        trained: Places of the learnt tokens, each counted from its sequence's start, in ascending order.
        is_cut: Whether a limit cuts it into chunks without loss, as it does running text.
    """

    longest: int
    num_tokens: int
    trained: NDArray[np.int32]
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class LimitCost:
    """What a limit costs.

    Attributes:
        max_length: The limit in tokens.
        num_rows: Rows that are longer, of all rows (an estimate where there is a sample).
        row_share: Their share.
        row_share_error: Half the width of its 95 % interval; 0 where all rows were measured.
        dropped_share: Share of all answer tokens lost where longer rows are dropped.
        dropped_share_error: As above.
        truncated_share: Share of all answer tokens lost where longer rows are truncated.
        truncated_share_error: As above.
    """

    max_length: int
    num_rows: int
    row_share: float
    row_share_error: float
    dropped_share: float
    dropped_share_error: float
    truncated_share: float
    truncated_share_error: float


@dataclass(frozen=True, slots=True)
class LengthSummary:
    """Lengths of all rows.

    Attributes:
        num_rows: All rows.
        num_measured: Rows that were tokenised.
        num_tokens: Tokens of all rows (an estimate where there is a sample).
        num_tokens_error: Half the width of its 95 % interval.
        num_answer_tokens: Learnt tokens of all rows, likewise.
        supervised_share: Learnt tokens among all.
        supervised_share_error: Half the width of its 95 % interval.
        median: Of the longest sequence of each row.
        p95: 95 % of rows are no longer.
        longest: The longest row that was measured.
        histogram: Measured rows by length; bins end at powers of two.
        costs: Of limits, ascending.
    """

    num_rows: int
    num_measured: int
    num_tokens: int
    num_tokens_error: int
    num_answer_tokens: int
    supervised_share: float
    supervised_share_error: float
    median: float
    p95: float
    longest: int
    histogram: tuple[LengthBin, ...]
    costs: tuple[LimitCost, ...]


def summarise_lengths(rows: Sequence[RowLength], num_rows: int, limits: Sequence[int] = ()) -> LengthSummary:
    """Sum up measured rows.

    Args:
        rows: Rows that were measured: all, or a random sample; at least one.
        num_rows: All rows.
        limits: Limits whose cost is asked for, besides powers of two.
    """
    longest = np.array([row.longest for row in rows])
    totals = np.array([row.num_tokens for row in rows], float)
    answers = np.array([len(row.trained) for row in rows], float)
    scale = num_rows / len(rows)
    is_sample = num_rows > len(rows)
    supervised, supervised_error = _ratio(answers, totals, is_sample)
    token_error = _Z * float(totals.std(ddof=1)) / math.sqrt(len(rows)) * num_rows if is_sample else 0.0
    return LengthSummary(
        num_rows=num_rows,
        num_measured=len(rows),
        num_tokens=round(totals.sum() * scale),
        num_tokens_error=round(token_error),
        num_answer_tokens=round(answers.sum() * scale),
        supervised_share=supervised,
        supervised_share_error=supervised_error,
        median=float(np.median(longest)),
        p95=float(np.quantile(longest, 0.95, method="higher")),
        longest=int(longest.max()),
        histogram=length_histogram(longest),
        costs=tuple(_cost(rows, limit, num_rows) for limit in _limits(int(longest.max()), limits)),
    )


def _limits(longest: int, asked: Sequence[int]) -> list[int]:
    """Powers of two up to the first that costs nothing, and those that were asked for."""
    limits = set(asked)
    limit = _SMALLEST_LIMIT
    limits.add(limit)
    while limit < longest:
        limit *= 2
        limits.add(limit)
    return sorted(limits)


def _cost(rows: Sequence[RowLength], limit: int, num_rows: int) -> LimitCost:
    answers = np.array([len(row.trained) for row in rows], float)
    over = np.array([row.longest > limit and not row.is_cut for row in rows])
    # A row of which nothing learnt is left is dropped as a whole, which is the same loss.
    cut = np.array(
        [len(row.trained) - np.searchsorted(row.trained, limit) if o else 0 for row, o in zip(rows, over, strict=True)],
        float,
    )
    is_sample = num_rows > len(rows)
    dropped, dropped_error = _ratio(np.where(over, answers, 0.0), answers, is_sample)
    truncated, truncated_error = _ratio(cut, answers, is_sample)
    share = float(over.mean())
    return LimitCost(
        max_length=limit,
        num_rows=round(share * num_rows),
        row_share=share,
        row_share_error=row_share_error(len(rows)) if is_sample else 0.0,
        dropped_share=dropped,
        dropped_share_error=dropped_error,
        truncated_share=truncated,
        truncated_share_error=truncated_error,
    )


def row_share_error(num_measured: int) -> float:
    """Bound on the error of every share of rows at once, with 95 % probability: sqrt(ln(2 / 0.05) / 2n)."""
    return math.sqrt(math.log(2 / 0.05) / (2 * num_measured))


def _ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64], is_sample: bool) -> tuple[float, float]:
    """Σ parts / Σ wholes, and half the width of its 95 % interval."""
    total = float(wholes.sum())
    if not total:
        return 0.0, 0.0
    ratio = float(parts.sum()) / total
    if not is_sample or len(parts) < 2:
        return ratio, 0.0
    spread = float((parts - ratio * wholes).std(ddof=1))
    return ratio, _Z * spread / (math.sqrt(len(parts)) * total / len(parts))
