"""`luthier data show`: one row token by token, as it is learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.columns import Columns, Format, read_columns
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_tokens import show_token_rows


def show(
    file: Annotated[str, typer.Argument(help="Data file.")],
    row: Annotated[int, typer.Option("--row", help="Which row, counted from 1.")] = 1,
    model: Annotated[
        str, typer.Option("--model", help="Whose tokenizer and chat template are used.")
    ] = "smollm2-135m-instruct",
    html: Annotated[Path | None, typer.Option("--html", help="Write it as a page, too.", show_default=False)] = None,
    format: Format = "auto",
    column: Columns = None,
) -> Outcome:
    """Show a row as the model gets it: each token with its id, and whether it is learnt.

    Made by the function that training tokenises with. Learnt tokens are green; without colours they stand in [brackets].
    """
    columns = read_columns(column)

    from luthier.workflows.data_show import data_show

    with terminal_reporter() as reporter:
        result = data_show(file, row, model=model, format=format, columns=columns, reporter=reporter)
    content = result.to_json()
    if html is not None:
        from luthier.pages.data_show import write_data_show

        facts = {"Row": str(result.row), "Format": result.format, "Model": result.model}
        write_data_show(html, result.file, facts, content["examples"])
        content["page"] = str(html)
    return Outcome(content, lambda console: show_token_rows(console, result.examples, html))
