"""`luthier compare`: runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.show_compare import show_comparison
from luthier.errors import RunError
from luthier.runs.find import find_run
from luthier.runs.folder import RunFolder

app = typer.Typer(add_completion=False)


@app.command()
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Two or more runs: names below ./runs, or paths of folders. After the first also who else answered in its "
            "evaluation: base, few_shot, or what was named with luthier evaluate --with."
        ),
    ],
) -> Outcome:
    """Show what differs in recipe and data, losses and curves, and paired differences of task scores.

    The first run is the one that the others are held against. A page with overlaid curves is written beside it.
    """
    first = find_run(runs[0])

    from luthier.workflows.compare import compare_runs, contenders_of

    known = contenders_of(first)
    contenders = [name for name in runs[1:] if name in known]
    paths = [first, *(_find(name, first, known) for name in runs[1:] if name not in known)]
    result = compare_runs(paths, contenders=contenders)
    return Outcome(result.to_json(), lambda console: show_comparison(console, result))


def _find(name: str, first: Path, known: list[str]) -> Path:
    try:
        return find_run(name)
    except RunError as error:
        typed = RunFolder(first).typed
        raise RunError(
            f"'{name}' is neither a run nor one that answered for {first.name} ({', '.join(known) or 'nobody'}). "
            f"To let it answer: luthier evaluate {typed} --task … --with {name}. {error}"
        ) from error
