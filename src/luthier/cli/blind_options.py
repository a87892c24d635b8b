"""Options of `luthier blind`: what each of them means."""

from __future__ import annotations

from typing import Annotated

import typer

Run = Annotated[str, typer.Argument(help="Name of a run below ./runs, or the path of its folder.")]

Against = Annotated[str, typer.Argument(help="base, few_shot, another contender of the evaluation, or another run.")]

Task = Annotated[
    str | None,
    typer.Option(
        help="An evaluated task by its name, or what luthier evaluate --task takes. Without: the only one evaluated.",
        show_default=False,
    ),
]

Rows = Annotated[
    int | None, typer.Option("--rows", help="Rows to look at; 50 unless a comparison goes on.", show_default=False)
]

Seed = Annotated[
    int | None, typer.Option(min=0, help="Of the draw of rows and sides; 0 unless one goes on.", show_default=False)
]

Results = Annotated[bool, typer.Option("--results", help="Only say what was decided so far, and keep it.")]

Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Of 127.0.0.1; 0 for any that is free.")]

NoOpen = Annotated[bool, typer.Option("--no-open", help="Only print the address.")]
