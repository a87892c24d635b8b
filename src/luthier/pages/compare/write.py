"""Lays out the comparison of runs and writes its page. Charts, style and script are the report's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from luthier.evaluation.compare import Comparison
from luthier.pages.page import render_page
from luthier.pages.report.chart import LineChart, Series, line_chart
from luthier.pages.report.words import text_of
from luthier.runs.atomic import write_text
from luthier.runs.compare import Difference
from luthier.runs.curves import Curves
from luthier.runs.manifest import now

HERE = Path(__file__).parent
REPORT = HERE.parent / "report"
NUM_COLOURS = 8
"""In compare.css; with more runs they come again."""


def write_comparison(
    path: Path,
    *,
    names: Sequence[str],
    figures: Sequence[tuple[str, Sequence[str]]],
    curves: Sequence[Curves],
    recipe: Sequence[Difference],
    data: Sequence[Difference],
    scores: Sequence[tuple[str, Comparison]],
    notes: Sequence[str],
    version: str,
) -> None:
    """Write the page.

    Args:
        path: Where to.
        names: Of the runs, in order.
        figures: (figure, its value for each run).
        curves: Of each run.
        recipe: Recipe values that differ.
        data: Facts of the data that differ.
        scores: (task, paired comparison with the first run).
        notes: What a reader should know.
        version: Of Luthier, for the foot of the page.
    """
    view = {
        "names": names,
        "styles": [_style(index) for index in range(len(names))],
        "figures": figures,
        "charts": [chart for chart in _charts(names, curves) if chart is not None],
        "recipe": _in_words(recipe),
        "data": _in_words(data),
        "scores": [(task, comparison.sentence(), comparison.verdict) for task, comparison in scores],
        "notes": notes,
        "version": version,
        "written_at": now().replace("T", " ").replace("+00:00", " UTC"),
    }
    page = render_page(
        "compare.html.j2",
        view,
        folders=[HERE, REPORT],
        styles=[REPORT / "report.css", HERE / "compare.css"],
        script=REPORT / "report.js",
    )
    write_text(path, page)


def _style(index: int) -> str:
    return f"run-{index % NUM_COLOURS}"


def _charts(names: Sequence[str], curves: Sequence[Curves]) -> list[LineChart | None]:
    numbered = list(enumerate(zip(names, curves, strict=True)))
    unit = "nats per trained token"
    return [
        line_chart("Training loss", [Series(name, _style(i), c.train) for i, (name, c) in numbered], unit=unit),
        line_chart(
            "Validation loss",
            [Series(name, _style(i), c.validation, dots=True) for i, (name, c) in numbered],
            unit=unit,
        ),
    ]


def _in_words(rows: Sequence[Difference]) -> list[tuple[str, list[str]]]:
    return [(row.name, [_words(value) for value in row.values]) for row in rows]


def _words(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(text_of, value)) or "none"
    return text_of(value)
