"""`luthier report`: write a run's report again, from what is in its folder."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from luthier.cli.dispatch import Outcome
from luthier.cli.views import show_next
from luthier.runs.find import find_run
from luthier.runs.folder import RunFolder

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

    def show(console: Console) -> None:
        note = " (no browser could be opened here)" if open_page and not opened else ""
        console.print(f"Report: {page}{note}", soft_wrap=True)
        if not open_page:
            show_next(console, (f"luthier report {RunFolder(path).typed} --open", "show it in the browser"))

    return Outcome(content, show)
