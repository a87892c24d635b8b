"""How many rows it takes to see a difference, and which difference so many rows can show.

Told before a run it saves one that could not have answered the question.
"""

from __future__ import annotations

import math

from scipy import stats

from luthier.evaluation.statistics.intervals import CONFIDENCE

POWER = 0.8
_BISECTIONS = 50
MIN_ROWS = 20
"""Below this the intervals are too narrow to be believed, so no verdict is given."""

USUAL_DISCORDANCE = 0.3
"""Share of rows that one contender has right and the other has not, where nothing is known yet: tuned against base models on
tasks that tuning changes lie between 0.2 and 0.5."""


def rows_needed(difference: float, deviation: float, *, confidence: float = CONFIDENCE, power: float = POWER) -> int:
    """Rows that a paired comparison needs to see a true `difference` with probability `power`.

    n = ((z_{1 − α/2} + z_{power}) · deviation / difference)², the usual normal approximation; at least `MIN_ROWS`.

    Args:
        difference: The one to be seen, above 0.
        deviation: Standard deviation of the row-wise differences.
    """
    if difference <= 0:
        raise ValueError(f"The difference to be seen must be above 0, not {difference}.")
    z_sum = sum(_quantiles(confidence, power))
    return max(MIN_ROWS, math.ceil((z_sum * deviation / difference) ** 2))


def rows_needed_binary(
    difference: float, discordance: float, *, confidence: float = CONFIDENCE, power: float = POWER
) -> int:
    """The same for answers that are right or wrong, from the share of rows on which the two differ (Connor 1987).

    n = (z_{1 − α/2} √ψ + z_{power} √(ψ − δ²))² / δ², the sample size of McNemar's test.

    Args:
        difference: Difference δ of the shares of right answers, above 0.
        discordance: Share ψ of rows that only one of them has right; at least the difference.
    """
    _refuse(difference, discordance)
    return max(MIN_ROWS, math.ceil(_connor(difference, discordance, confidence, power)))


def detectable_difference(
    num_rows: int, discordance: float = USUAL_DISCORDANCE, *, confidence: float = CONFIDENCE, power: float = POWER
) -> float | None:
    """The smallest difference of shares that so many rows show with probability `power`; None where they show none.

    The most that two can differ is the share of rows on which they do; where not even that would be seen, nothing is.

    Args:
        num_rows: Rows asked.
        discordance: Share of rows that only one of them has right.
    """
    _refuse(discordance, discordance)
    if _connor(discordance, discordance, confidence, power) > num_rows:
        return None
    low, high = 0.0, discordance
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if _connor(middle, discordance, confidence, power) <= num_rows else (middle, high)
    return high


def _connor(difference: float, discordance: float, confidence: float, power: float) -> float:
    z_alpha, z_power = _quantiles(confidence, power)
    spread = math.sqrt(max(discordance - difference**2, 0.0))
    return ((z_alpha * math.sqrt(discordance) + z_power * spread) / difference) ** 2


def _quantiles(confidence: float, power: float) -> tuple[float, float]:
    return float(stats.norm.ppf(0.5 + confidence / 2)), float(stats.norm.ppf(power))


def _refuse(difference: float, discordance: float) -> None:
    if not 0 < difference <= discordance <= 1:
        raise ValueError(
            f"The difference must be above 0 and at most the share of rows that differ, which is at most 1; got {difference} "
            f"and {discordance}."
        )
