"""What a task measured beside its metric: further figures, the confusion of labels, and rows that were learnt by heart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from luthier.pages.report.scale import Scale
from luthier.pages.report.words import number

MOST_LABELS = 20
_WORDS = {"equal": "equal", "near": "nearly equal"}


@dataclass(frozen=True)
class FigureView:
    """One further figure: (value in words) for each contender."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class ConfusionView:
    """Of one contender: for each right label the labels that its answers named; `share` of a row shades a cell."""

    title: str
    labels: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[int, float], ...]], ...]


@dataclass(frozen=True)
class OverlapView:
    """Rows that the training data have too, and what is left without them."""

    sentence: str
    without: tuple[str, ...]
    rows: tuple[str, ...]


def read_figures(contenders: Mapping[str, Mapping[str, Any]]) -> tuple[FigureView, ...]:
    """Means of measures, with intervals, and figures over all rows."""
    views: list[FigureView] = []
    for name in dict.fromkeys(name for entry in contenders.values() for name in entry.get("measures", {})):
        views.append(
            FigureView(_spoken(name), tuple(_measure(e.get("measures", {}).get(name)) for e in contenders.values()))
        )
    figures = [entry.get("figures", {}) for entry in contenders.values()]
    names = [name for each in figures for name, value in each.items() if isinstance(value, int | float)]
    for name in dict.fromkeys(names):
        views.append(FigureView(_spoken(name), tuple(number(f[name]) if name in f else "–" for f in figures)))
    return tuple(views)


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _measure(interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return "–"
    return f"{number(interval['mean'])} ({number(interval['low'])}…{number(interval['high'])})"


def read_confusions(contenders: Mapping[str, Mapping[str, Any]]) -> tuple[ConfusionView, ...]:
    """One for each contender that named labels; none where there are too many labels for a table."""
    views: list[ConfusionView] = []
    for entry in contenders.values():
        confusion: Mapping[str, Mapping[str, int]] = entry.get("figures", {}).get("confusion", {})
        named = dict.fromkeys([*confusion, *(label for said in confusion.values() for label in said)])
        if confusion and len(named) <= MOST_LABELS:
            views.append(ConfusionView(entry["title"], tuple(named), tuple(_confused(confusion, tuple(named)))))
    return tuple(views)


def _confused(
    confusion: Mapping[str, Mapping[str, int]], labels: tuple[str, ...]
) -> Iterable[tuple[str, tuple[tuple[int, float], ...]]]:
    for right, said in confusion.items():
        total = sum(said.values())
        yield right, tuple((said.get(label, 0), round(said.get(label, 0) / total, 3)) for label in labels)


def read_overlap(summary: Mapping[str, Any], titles: Mapping[str, str], scale: Scale) -> OverlapView | None:
    """None where it was not looked for, or nothing was found."""
    overlap = summary.get("overlap")
    if not overlap or not overlap["num_rows"]:
        return None
    kinds = ", ".join(f"{count} {_WORDS[kind]}" for kind, count in overlap["kinds"].items())
    sentence = (
        f"{number(overlap['num_rows'])} of {number(summary['num_rows'])} questions are in the training data too ({kinds}). "
        "Their score measures memory."
    )
    without: list[str] = []
    if rest := overlap["without"]:
        scores = [
            f"{titles[name]} {scale.score(mean['mean'], 1)} ({scale.score_interval(mean['low'], mean['high'])})"
            for name, mean in rest["contenders"].items()
        ]
        without.append(f"Without them ({number(rest['num_rows'])} questions): {'; '.join(scores)}.")
        for comparison in rest["comparisons"]:
            difference = comparison["difference"]
            without.append(
                f"{titles[comparison['first']]} − {titles[comparison['second']]}: {scale.difference(difference['mean'], 1)} "
                f"({scale.interval(difference['low'], difference['high'], 1)}), {comparison['verdict']}."
            )
    rows = tuple(f"{row['id']}: {_WORDS[row['kind']]}, {row['training_row']}" for row in overlap["rows"])
    return OverlapView(sentence, tuple(without), rows)
