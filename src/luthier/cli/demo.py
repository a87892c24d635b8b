"""`luthier demo`: the whole path on a small task, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_demo import show_demo

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Folder that holds the runs.")] = Path("runs"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier demo run.")] = False,
) -> Outcome:
    """Teach a small model text-to-SQL and measure it against itself, with and without examples in the prompt.

    Needs no data, no account and no GPU: questions are generated, answers are judged by executing them.
    """
    from luthier.workflows.demo import demo as run_demo

    with terminal_reporter() as reporter:
        result = run_demo(folder=folder, overwrite=overwrite, reporter=reporter)
    content = result.to_json()
    exit_code = 1 if content["checks"]["failed"] else 0
    return Outcome(content, lambda console: show_demo(console, result), exit_code)
