"""`luthier data check`: what is wrong with data, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_data_check import show_data_check
from luthier.errors import InputError


def check(
    files: Annotated[list[str], typer.Argument(help="Data files, folders or patterns.")],
    rule: Annotated[
        list[str] | None, typer.Option("--rule", help="Only this rule; repeat for several.", show_default=False)
    ] = None,
    format: Annotated[str, typer.Option("--format", help="Layout of the rows.")] = "auto",
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="part=column where names differ: prompt=question", show_default=False),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the findings as a page, too.", show_default=False)
    ] = None,
) -> Outcome:
    """Look for what costs quality: duplicates, contradictions, cut answers, leftovers, personal data, secrets, …

    Ends with 1 where a finding is an error, so that CI can stop on it.
    """
    from luthier.workflows.data_check import data_check

    columns = dict(_pair(text) for text in column or ())
    with terminal_reporter() as reporter:
        result = data_check(files, format=format, columns=columns, rules=rule, reporter=reporter)
    content = result.to_json()
    if html is not None:
        from luthier.pages.data_check import write_data_check

        write_data_check(html, result)
        content["page"] = str(html)
    return Outcome(content, lambda console: show_data_check(console, result, html), exit_code=0 if result.passed else 1)


def _pair(text: str) -> tuple[str, str]:
    part, equals, name = text.partition("=")
    if not equals or not part or not name:
        raise InputError(f"--column takes part=column, for example prompt=question; found '{text}'.")
    return part, name
