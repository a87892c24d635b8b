"""`luthier report`: write a run's report again, from what is in its folder."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.runs.find import find_run

app = typer.Typer(add_completion=False)


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="Name of a run below ./runs, or the path of its folder.")],
    open_page: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> Outcome:
    """Write report.html, also of a run that is still running or was interrupted."""
    path = find_run(run)

    from luthier.pages.report import write_report

    page = write_report(path)
    opened = False
    if open_page:
        import webbrowser

        opened = webbrowser.open(page.absolute().as_uri())
    content = {"run": str(path), "report": str(page), "opened": opened}
    words = f"Report: {page}" if opened or not open_page else f"Report: {page} (no browser could be opened here)"
    return Outcome(content, lambda console: console.print(words, soft_wrap=True))
