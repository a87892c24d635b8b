"""`luthier data find`: data sets of the hub."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.units import format_bytes, format_count

if TYPE_CHECKING:
    from luthier.data.hub_search import HubDataset

_SHOWN_COLUMNS = 6


def find(
    query: Annotated[list[str], typer.Argument(metavar="QUERY…", help="Words of the data set's name.")],
    limit: Annotated[int, typer.Option("--limit", help="Results at most.")] = 20,
) -> Outcome:
    """Search the Hugging Face hub: downloads, size, licence, columns and what they would be read as.

    A name that is found is used like a file: luthier data inspect hub:owner/name, or data.train: hub:owner/name in a recipe.
    """
    words = " ".join(query)

    from luthier.data.hub_search import find_datasets

    with terminal_reporter() as reporter:
        reporter.stage(f"Search the hub for '{words}'")
        found = find_datasets(words, limit)
    content = {"query": words, "datasets": [dataset.to_json() for dataset in found]}
    return Outcome(content, lambda console: _show(console, words, found))


def _show(console: Console, words: str, found: list[HubDataset]) -> None:
    if not found:
        console.print(f"Nothing on the hub has '{words}' in its name. Try fewer or other words.", soft_wrap=True)
        return
    table = Table("name", box=None, padding=(0, 2, 0, 0))
    for heading in ("downloads", "rows", "size"):
        table.add_column(heading, justify="right")
    for heading in ("licence", "read as", "columns"):
        table.add_column(heading)
    for one in found:
        rows = one.size_class if one.num_rows is None else format_count(one.num_rows)
        size = "" if one.num_bytes is None else format_bytes(one.num_bytes)
        more = ", …" if len(one.columns) > _SHOWN_COLUMNS else ""
        columns = ", ".join(one.columns[:_SHOWN_COLUMNS]) + more
        name = f"{one.name} (asks for an agreement)" if one.is_gated else one.name
        table.add_row(name, format_count(one.downloads), rows, size, one.licence, one.layout, columns)
    console.print(table)
    if any(not one.licence for one in found):
        console.print("Where no licence stands its card names none: ask its owner before you use it.", soft_wrap=True)
    best = next((one for one in found if one.layout), found[0])
    console.print(f"Next: luthier data inspect {shlex.quote(f'hub:{best.name}')}", soft_wrap=True)
