"""How a comparison of runs looks on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from luthier.cli.sparkline import sparkline

if TYPE_CHECKING:
    from luthier.runs.compare import Difference
    from luthier.workflows.compare import RunComparison

CURVE_WIDTH = 24


def show_comparison(console: Console, result: RunComparison) -> None:
    """Figures, curves on one scale, scores, differences, and where the page is."""
    from luthier.workflows.compare import figure_rows

    names = [run.name for run in result.runs]
    _print_table(console, "", names, [(figure, list(values)) for figure, values in figure_rows(result.runs)])
    _show_curves(console, result)
    for task in result.tasks:
        console.print(Text(f"\n{task.task}: {task.metric}", style="bold"))
        console.print(task.comparison.sentence(), soft_wrap=True)
    if len(names) > 1:
        _show_differences(console, "recipe", names, result.recipe)
        _show_differences(console, "data", names, result.data)
    for note in result.notes:
        console.print(Text.assemble(("note: ", "yellow"), note), soft_wrap=True)
    console.print(f"Page: {result.page}", soft_wrap=True)


def _show_curves(console: Console, result: RunComparison) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("curves, on one scale", overflow="fold")
    scales = []
    for side, words in ((0, "training loss"), (1, "validation loss")):
        losses = [loss for run in result.runs for _, loss in run.curves[side]]
        scales.append((min(losses, default=0.0), max(losses, default=0.0)))
        table.add_column(words, no_wrap=True)
    for run in result.runs:
        lines = [
            sparkline([y for _, y in points], CURVE_WIDTH, low=low, high=high, encoding=console.encoding)
            for points, (low, high) in zip(run.curves, scales, strict=True)
        ]
        table.add_row(run.name, *lines)
    console.print()
    console.print(table)


def _show_differences(console: Console, what: str, names: Sequence[str], rows: Sequence[Difference]) -> None:
    console.print()
    if rows:
        _print_table(console, what, names, [(row.name, [_short(value) for value in row.values]) for row in rows])
    else:
        console.print(Text(f"{what}: no difference", style="dim"))


def _print_table(console: Console, first: str, names: Sequence[str], rows: Sequence[tuple[str, list[str]]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (first, *names):
        table.add_column(column, overflow="fold")
    for name, values in rows:
        table.add_row(name, *values)
    console.print(table)


def _short(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "–" if value is None else str(value)
