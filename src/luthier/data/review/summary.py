"""What a reviewed sample says of all rows: how many are bad, with an interval.

Rows of the sample stand for unequally many others (`sample`), so shares are weighted means. Their interval is Wilson's with
the effective number of rows, (Σw)² / Σw² (Kish 1965), in the place of the number of rows, as is usual for samples of unequal
weights (Franco, Little, Louis & Slud 2019, J. Surv. Stat. Methodol. 7:334). What was seen bounds it: a file has at least the
bad rows that were found in it, and of rows that were all looked at the share is known.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Decision = Literal["keep", "drop", "fix"]
Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Expected:
    """How many of all rows are like this.

    Attributes:
        num_seen: In the sample.
        share: Of all rows.
        low: Lower end of the 95 % interval of the share.
        high: Its upper end.
        num_rows: Expected number of rows.
        low_rows: By the lower end.
        high_rows: By the upper end.
    """

    num_seen: int
    share: float
    low: float
    high: float
    num_rows: int
    low_rows: int
    high_rows: int


@dataclass(frozen=True)
class Summary:
    """What was decided, and what it says.

    Attributes:
        num_rows: Of all files.
        num_sampled: Rows to look at.
        counts: Rows by decision.
        to_drop: Rows that one would drop; None before anything was decided.
        bad: Rows that one would drop or fix.
    """

    num_rows: int
    num_sampled: int
    counts: dict[str, int]
    to_drop: Expected | None
    bad: Expected | None

    @property
    def num_decided(self) -> int:
        """Rows with a decision."""
        return sum(self.counts.values())

    @property
    def sentence(self) -> str:
        """The result in words."""
        if self.to_drop is None or self.bad is None:
            return f"No row of {self.num_sampled} is decided yet."
        seen = (
            f"{self.num_decided} of {self.num_sampled} rows decided: {self.counts['keep']} kept, {self.counts['drop']} "
        )
        seen += f"dropped, {self.counts['fix']} fixed."
        rest = self.num_rows - self.counts["drop"] - self.counts["fix"]
        drop = f" Expect about {_about(self.to_drop)} rows to drop in the whole file of {self.num_rows:,}"
        bad = f", and {_about(self.bad)} to drop or fix." if self.counts["fix"] else "."
        return seen + drop + bad if rest else f"{seen} That was the whole file."

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "num_decided": self.num_decided, "sentence": self.sentence}


def _about(expected: Expected) -> str:
    percent = f"{100 * expected.low:.1f} to {100 * expected.high:.1f} %"
    return f"{expected.num_rows:,} ({expected.low_rows:,} to {expected.high_rows:,}; {percent})"


def summarise(
    num_rows: int, strata: Mapping[str, int], decided: Sequence[tuple[str, Decision]], num_sampled: int
) -> Summary:
    """Weigh decisions.

    Args:
        num_rows: Of all files.
        strata: Rows of each stratum.
        decided: Stratum and decision of each row that was decided.
        num_sampled: Rows to look at.
    """
    counts: dict[str, int] = dict.fromkeys(("keep", "drop", "fix"), 0)
    for _, decision in decided:
        counts[decision] += 1
    to_drop = _expected(num_rows, strata, [(stratum, decision == "drop") for stratum, decision in decided])
    bad = _expected(num_rows, strata, [(stratum, decision != "keep") for stratum, decision in decided])
    return Summary(num_rows, num_sampled, counts, to_drop, bad)


def _expected(num_rows: int, strata: Mapping[str, int], seen: Sequence[tuple[str, bool]]) -> Expected | None:
    if not seen:
        return None
    num_of = Counter(stratum for stratum, _ in seen)
    weights = [strata[stratum] / num_of[stratum] for stratum, _ in seen]
    share = sum(w for w, (_, is_so) in zip(weights, seen, strict=True) if is_so) / sum(weights)
    low, high = weighted_wilson(share, sum(weights) ** 2 / sum(w * w for w in weights))
    found = sum(is_so for _, is_so in seen)
    least, most = found / num_rows, 1 - (len(seen) - found) / num_rows
    low, share, high = (min(max(value, least), most) for value in (low, share, high))
    return Expected(
        found,
        share,
        low,
        high,
        round(share * num_rows),
        math.floor(low * num_rows + 1e-9),
        math.ceil(high * num_rows - 1e-9),
    )


def weighted_wilson(share: float, num: float) -> tuple[float, float]:
    """The 95 % score interval of a share of `num` rows, which need not be a whole number (Wilson 1927)."""
    centre = share + Z_95**2 / (2 * num)
    reach = Z_95 * math.sqrt(share * (1 - share) / num + (Z_95 / (2 * num)) ** 2)
    scale = 1 + Z_95**2 / num
    return max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale)
