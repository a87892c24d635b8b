"""`luthier data review`: a sample of rows to decide on, in the browser."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from luthier.cli.columns import Columns, Format, read_columns
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter

if TYPE_CHECKING:
    from luthier.pages.data_review import ReviewServer


def review(
    source: Annotated[str, typer.Argument(metavar="FILE", help="Data file, folder or pattern; never changed.")],
    rows: Annotated[
        int | None, typer.Option("--rows", help="Rows to look at; 80 unless a review goes on.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DECISIONS",
            help="Where decisions are kept (.jsonl); FILE.review.jsonl beside it. A review that is there goes on.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of 127.0.0.1; 0 for any that is free.")] = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help="Only print the address.")] = False,
    format: Format = "auto",
    column: Columns = None,
) -> Outcome:
    """Look at a sample of rows in the browser: keep, drop, fix, note. Every decision is saved at once.

    The sample has rows of each kind of finding and an even cross-section of the others; the same file gives the same sample. The
    page is served to this machine alone. It ends with the button in the page or with Ctrl-C here; the same command goes on.
    """
    columns = read_columns(column)

    from luthier.pages.data_review import ReviewServer
    from luthier.workflows.data_review import data_review, decisions_path

    path = out or decisions_path(source)
    with terminal_reporter() as reporter:
        session = data_review([source], path, num_rows=rows, format=format, columns=columns, reporter=reporter)
        with ReviewServer(session, port) as server:
            reporter.stage(f"Review at {server.url}")
            reporter.say(f"Decisions are saved to {path}. End it in the page, or with Ctrl-C here.")
            if not no_open:
                import webbrowser

                if not webbrowser.open(server.url):
                    reporter.say("No browser could be opened here; open the address yourself.", "warning")
            ended = _wait(server)
    session.close()
    summary = session.summary()
    content = {**summary.to_json(), "decisions": str(path), "ended_in_page": ended}

    def show(console: Console) -> None:
        console.print(summary.sentence, soft_wrap=True)
        left = summary.num_sampled - summary.num_decided
        if left:
            console.print(f"{left} rows are not decided; go on with the same command.", soft_wrap=True)
        files = shlex.join([source, str(path)])
        console.print(f"Next: luthier data apply {files} OUT.jsonl", soft_wrap=True)

    return Outcome(content, show)


def _wait(server: ReviewServer) -> bool:
    try:
        return server.wait()
    except KeyboardInterrupt:  # everything is saved: this is an end like the other
        return False
