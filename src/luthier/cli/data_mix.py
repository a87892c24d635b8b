"""`luthier data mix`: one file from several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from luthier.cli.columns import Columns, Format, read_columns
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter

if TYPE_CHECKING:
    from luthier.workflows.data_mix import MixResult


def mix(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write: .jsonl or .json, also with .gz. Never overwritten.")
    ],
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE…", help="A.jsonl:0.7 (a share), A.jsonl:500 (rows) or A.jsonl (all rows)."),
    ],
    rows: Annotated[
        int | None,
        typer.Option("--rows", help="Rows of the mix, with shares; else as many as there can be.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides which rows, and how sources alternate.")] = 0,
    when_exhausted: Annotated[
        str, typer.Option("--when-exhausted", help="A source has too few rows: stop there, or repeat them.")
    ] = "stop",
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="Write this layout: messages, sharegpt, alpaca, prompt_completion.", show_default=False
        ),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", help="Model whose tokens are counted too.", show_default=False)
    ] = None,
    format: Format = "auto",
    column: Columns = None,
) -> Outcome:
    """Mix sources by shares or numbers of rows; OUT.sources.jsonl says where each row came from.

    The same sources and seed give the same file. A source that gives only some of its rows gives a random sample.
    """
    columns = read_columns(column)

    from luthier.data.mixing import read_source
    from luthier.workflows.data_mix import data_mix

    with terminal_reporter() as reporter:
        result = data_mix(
            [read_source(text) for text in sources],
            out,
            num_rows=rows,
            seed=seed,
            when_exhausted=when_exhausted,  # pyright: ignore[reportArgumentType]  # the workflow checks it
            to=to,
            tokenizer=tokenizer,
            format=format,
            columns=columns,
            reporter=reporter,
        )
    return Outcome(result.to_json(), lambda console: _show(console, result))


def _show(console: Console, result: MixResult) -> None:
    console.print(f"{result.path}: {result.num_rows:,} rows", soft_wrap=True)
    characters = sum(source.num_characters for source in result.sources) or 1
    for source in result.sources:
        tokens = "" if source.num_tokens is None else f", {source.num_tokens:,} tokens"
        of_rows = f"{source.num_rows / result.num_rows:.1%} of rows"
        of_characters = f"{source.num_characters / characters:.1%} of characters"
        given = f"{source.num_rows:,} rows of {source.num_available:,}"
        console.print(f"  {source.name}: {given} ({of_rows}, {of_characters}{tokens})", soft_wrap=True)
    for source in result.sources:
        if source.is_exhausted:
            repeated = f"its rows occur {source.num_rows / source.num_available:.1f} times on average"
            stopped = "no more rows without repeating it (--when-exhausted repeat)"
            what = repeated if result.when_exhausted == "repeat" else stopped
            console.print(f"  {source.name} is used up: {what}", soft_wrap=True)
    console.print(f"{result.notes}: the source of each row", soft_wrap=True)
    console.print(f"Next: luthier data check {result.path}", soft_wrap=True)
