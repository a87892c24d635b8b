"""`luthier verify`: prove a promise on your own recipe and machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.views import show_verify
from luthier.config.load import load_recipe

app = typer.Typer(add_completion=False, help="Prove a promise on your own recipe and machine.")


@app.callback()
def verify() -> None:
    """Prove a promise on your own recipe and machine."""


@app.command()
def resume(
    recipe: Annotated[Path, typer.Argument(help="Recipe file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Dotted values: train.epochs=1", show_default=False)
    ] = None,
) -> Outcome:
    """Show that training 2N steps equals training N, being killed and resuming for N: bit for bit on the same machine."""
    loaded = load_recipe(recipe, overrides or ())

    from luthier.workflows.verify_resume import verify_resume

    with terminal_reporter() as reporter:
        result = verify_resume(loaded, reporter=reporter)
    return Outcome(result.to_json(), lambda console: show_verify(console, result), 0 if result.passed else 1)
