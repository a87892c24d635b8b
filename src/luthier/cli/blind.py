"""`luthier blind`: a person compares answers side by side, in the browser."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from luthier.cli import blind_options as options
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.views import show_evaluation, show_next
from luthier.runs.find import find_run
from luthier.runs.folder import RunFolder

if TYPE_CHECKING:
    from luthier.pages.data_review import ReviewServer

app = typer.Typer(add_completion=False)


@app.command()
def blind(
    run: options.Run,
    against: options.Against = "base",
    task: options.Task = None,
    rows: options.Rows = None,
    seed: options.Seed = None,
    results: options.Results = False,
    port: options.Port = 0,
    no_open: options.NoOpen = False,
) -> Outcome:
    """Compare two answers at a time without knowing whose they are: which is better, a tie, both bad; by keyboard.

    Whose answer stands on the left is drawn for each row. Every decision is saved at once; the same command goes on. The page is
    served to this machine alone, and ends with its button or with Ctrl-C here. What is decided becomes a result of the
    evaluation, and tells luthier judge how far its model can be believed.
    """
    path = find_run(run)

    from luthier.pages.blind import blind_page
    from luthier.pages.data_review import ReviewServer
    from luthier.workflows.blind import blind_results, plan_blind

    with terminal_reporter() as reporter:
        session = plan_blind(path, against, task=task, num_rows=rows, seed=seed, reporter=reporter)
        try:
            if not results:
                with ReviewServer(session, port, blind_page) as server:
                    reporter.stage(f"Compare at {server.url}")
                    reporter.say(
                        f"Decisions are saved to {session.file.path}. End it in the page, or with Ctrl-C here."
                    )
                    if not no_open:
                        import webbrowser

                        if not webbrowser.open(server.url):
                            reporter.say("No browser could be opened here; open the address yourself.", "warning")
                    _wait(server)
            nothing = not results and session.num_left == len(session.shown) > 0
            result = None if nothing else blind_results(session, path)
        finally:
            session.close()
    content = {
        "decisions": str(session.file.path),
        "num_left": session.num_left,
        "task": None if result is None else result.to_json(),
    }

    def show(console: Console) -> None:
        typed = RunFolder(path).typed
        command = shlex.join(["luthier", "blind", *shlex.split(typed), against, *(["--task", task] if task else [])])
        if result is None:
            console.print("Nothing was decided.")
            show_next(console, (command, "go on"))
            return
        show_evaluation(console, [result])
        for note in result.notes:
            console.print(f"  {note}", soft_wrap=True)
        more = [(command, f"decide the {session.num_left} rows that are left")]
        show_next(console, *(more if session.num_left else []), (f"luthier report {typed} --open", "every decision"))

    return Outcome(content, show)


def _wait(server: ReviewServer) -> None:
    try:
        server.wait()
    except KeyboardInterrupt:  # everything is saved: this is an end like the other
        return
