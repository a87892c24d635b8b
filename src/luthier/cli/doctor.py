"""`luthier doctor`: what works here, and how to mend what does not."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_doctor import show_doctor

app = typer.Typer(add_completion=False)


@app.command()
def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Do not try to reach the network.")] = False,
    ranks: Annotated[
        bool, typer.Option("--ranks", help="Also let two processes talk (always done with several cards).")
    ] = False,
    verbose: Annotated[bool, typer.Option("--all", help="Show what is good, too.")] = False,
) -> Outcome:
    """Check Python, packages, cards, memory, disks and network; run small things; say what can be trained here.

    Ends with 1 where something failed; each failure says how to mend it.
    """
    from luthier.workflows.doctor import doctor as run_doctor

    with terminal_reporter() as reporter:
        result = run_doctor(offline=offline, with_ranks=ranks, reporter=reporter)
    return Outcome(result.to_json(), lambda console: show_doctor(console, result, verbose), int(not result.passed))
