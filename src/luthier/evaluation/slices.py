"""Scores by groups of rows, with what is left of their differences once chance is taken out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from luthier.evaluation.statistics.intervals import Interval
from luthier.evaluation.statistics.paired import are_binary
from luthier.evaluation.statistics.shrinkage import shrunk_means, shrunk_shares

SliceFigures = dict[str, dict[str, dict[str, float]]]


def slice_means(
    slices: Sequence[Mapping[str, str]], scores: Sequence[float], weights: Sequence[float] | None = None
) -> SliceFigures:
    """For each slice and group: mean, num_rows, and the shrunk mean with its interval (shrunk, low, high)."""
    shares = weights is None and are_binary(scores)
    return {name: _figures(groups, scores, weights, shares=shares) for name, groups in _groups(slices).items()}


def slice_differences(
    slices: Sequence[Mapping[str, str]], differences: Sequence[float], weights: Sequence[float] | None = None
) -> SliceFigures:
    """The same for row-wise differences of two contenders."""
    return {name: _figures(groups, differences, weights, shares=False) for name, groups in _groups(slices).items()}


def _groups(slices: Sequence[Mapping[str, str]]) -> dict[str, dict[str, list[int]]]:
    """Numbers of the rows, by slice and group."""
    found: dict[str, dict[str, list[int]]] = {}
    for number, row in enumerate(slices):
        for name, group in row.items():
            found.setdefault(name, {}).setdefault(group, []).append(number)
    return found


def _figures(
    groups: Mapping[str, Sequence[int]], values: Sequence[float], weights: Sequence[float] | None, *, shares: bool
) -> dict[str, dict[str, float]]:
    names = sorted(groups)
    members = [np.asarray([values[number] for number in groups[name]]) for name in names]
    if weights is None:
        means = [float(group.mean()) for group in members]
    else:
        means = [
            float(np.average(group, weights=[weights[number] for number in groups[name]]))
            for name, group in zip(names, members, strict=True)
        ]
    shrunk: list[Interval]
    if shares:
        shrunk = shrunk_shares([int(group.sum()) for group in members], [len(group) for group in members])
    else:
        shrunk = shrunk_means(means, _variances(members))
    return {
        name: {"mean": mean, "num_rows": len(group), "shrunk": each.mean, "low": each.low, "high": each.high}
        for name, mean, group, each in zip(names, means, members, shrunk, strict=True)
    }


def _variances(members: Sequence[np.ndarray]) -> list[float]:
    """Squared standard errors, from the spread that the groups have in common: few rows tell little of their own.

    Where no group has any spread, as if one more row lay one away.
    """
    within = sum(float(((group - group.mean()) ** 2).sum()) for group in members)
    freedom = sum(len(group) for group in members) - len(members)
    total = sum(len(group) for group in members)
    has_spread = any(np.ptp(group) > 0 for group in members)  # the sum of squares of equal values need not be 0
    pooled = within / freedom if freedom and has_spread else 1.0 / (total + 1)
    return [pooled / len(group) for group in members]
