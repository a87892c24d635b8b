"""`luthier data`: from any file to data worth training on. Each sub-command lives in a module of its own."""

from __future__ import annotations

import typer

from luthier.cli import data_check

app = typer.Typer(add_completion=False, no_args_is_help=False, help="Look at data before training on them.")


@app.callback()
def data() -> None:
    """Look at data before training on them."""


app.command("check")(data_check.check)
