"""`luthier runs`: what has been trained here."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.show_runs import show_runs
from luthier.workflows.list_runs import list_runs

app = typer.Typer(add_completion=False)


@app.command()
def runs(
    folder: Annotated[Path, typer.Option("--folder", help="Folder that holds the runs.")] = Path("runs"),
) -> Outcome:
    """List runs, newest first: state or verdict, course of the training loss, losses, time, size on disk."""
    found = list_runs(folder)
    content = {"runs": [asdict(run) | {"path": str(run.path)} for run in found]}
    return Outcome(content, lambda console: show_runs(console, found, folder))
