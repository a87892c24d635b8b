"""`luthier data check`: what is wrong with data, and what to do about it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.columns import Columns, Format, read_columns
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_data_check import show_data_check


class FailOn(StrEnum):
    """The least severity of a finding that ends the command with 1."""

    error = "error"
    warning = "warning"
    never = "never"


def check(
    files: Annotated[list[str], typer.Argument(help="Data files, folders or patterns (quoted: 'data/**/*.jsonl').")],
    rule: Annotated[
        list[str] | None,
        typer.Option(
            "--rule", help="Only this rule; repeat for several. luthier data rules names them.", show_default=False
        ),
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", help="Not this rule; repeat for several.", show_default=False)
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option("--tokenizer", help="Model or folder, for the rules that need its tokenizer.", show_default=False),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against", help="Evaluation set that the data must not hold; repeat for several.", show_default=False
        ),
    ] = None,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="What ends with 1: errors, warnings too, or nothing.")
    ] = FailOn.error,
    format: Format = "auto",
    column: Columns = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the findings as a page, too.", show_default=False)
    ] = None,
) -> Outcome:
    """Look for what costs quality: duplicates, contradictions, cut answers, leftovers, personal data, secrets, …

    Takes conversations, texts, preference pairs, answers with a label and texts with a class. Ends with 1 where a
    finding is an error (see --fail-on), so that CI can stop on it; with 2 where a file cannot be read.
    """
    columns = read_columns(column)

    from luthier.workflows.data_check import data_check

    with terminal_reporter() as reporter:
        result = data_check(
            files,
            format=format,
            columns=columns,
            rules=rule,
            skip=skip or (),
            tokenizer=tokenizer,
            against=against or (),
            reporter=reporter,
        )
    fails = result.fails(fail_on.value)
    content = {**result.to_json(), "failed": fails}
    if html is not None:
        from luthier.pages.data_check import write_data_check

        write_data_check(html, result)
        content["page"] = str(html)
    return Outcome(content, lambda console: show_data_check(console, result, html), exit_code=int(fails))
