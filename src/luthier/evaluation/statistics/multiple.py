"""Many comparisons at once: of twenty tasks without any difference one looks significant. Adjusted p-values say so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted so that the chance of even one false claim keeps the level, whatever the tests have in common (Holm 1979)."""
    ordered, order = _sorted(p_values)
    adjusted = np.maximum.accumulate(ordered * np.arange(len(ordered), 0, -1))
    return _in_place(np.minimum(adjusted, 1.0), order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted so that the expected share of false claims among the claims keeps the level (Benjamini and Hochberg 1995).

    For tests that are independent or positively dependent, as tasks of one kind are.
    """
    ordered, order = _sorted(p_values)
    count = len(ordered)
    adjusted = np.minimum.accumulate((ordered * count / np.arange(1, count + 1))[::-1])[::-1]
    return _in_place(np.minimum(adjusted, 1.0), order)


def _sorted(p_values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    return values[order], order


def _in_place(adjusted: np.ndarray, order: np.ndarray) -> list[float]:
    result = np.empty(len(order))
    result[order] = adjusted
    return result.tolist()
