"""`luthier data inspect`: what files hold and what each limit on their length would cost."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.columns import Columns, Format, read_columns
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_data_inspect import show_inspection


def inspect(
    files: Annotated[list[str], typer.Argument(help="Data files, folders or patterns (quoted: 'data/**/*.jsonl').")],
    model: Annotated[
        str, typer.Option("--model", help="Whose tokenizer and chat template measure lengths.")
    ] = "smollm2-135m-instruct",
    format: Format = "auto",
    column: Columns = None,
) -> Outcome:
    """Show format and why, columns, rows, turns, system prompts, languages, token lengths, and what each max_length costs.

    Of more than 20,000 rows lengths come from a random sample of as many, with the error that this can have.
    """
    columns = read_columns(column)

    from luthier.workflows.data_inspect import data_inspect

    with terminal_reporter() as reporter:
        result = data_inspect(files, model=model, format=format, columns=columns, reporter=reporter)
    return Outcome(result.to_json(), lambda console: show_inspection(console, result))
