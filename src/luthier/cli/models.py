"""`luthier models`: the models that need no hub."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.views import show_models

app = typer.Typer(add_completion=False, help="List or fetch the models that need no hub.")


@app.command("list")
def list_models() -> Outcome:
    """List the built-in models and which of them are ready to use."""
    from luthier.models.builtin import BUILTIN, cached

    ready = cached()
    content = [
        {
            "name": model.name,
            "parameters": model.parameters,
            "licence": model.licence,
            "note": model.note,
            "download_bytes": model.download_bytes,
            "path": str(ready[name]) if name in ready else None,
        }
        for name, model in BUILTIN.items()
    ]
    return Outcome({"models": content}, lambda console: show_models(console, BUILTIN, ready))


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="Name from `luthier models list`.")]) -> Outcome:
    """Download a built-in model, check its hash and convert it, once, into the cache."""
    from luthier.models.builtin import fetch as fetch_model

    with terminal_reporter() as reporter:
        path = fetch_model(name, reporter)
    return Outcome(
        {"name": name, "path": str(path)}, lambda console: console.print(f"{name} is ready in {path}", soft_wrap=True)
    )
