"""Options of `luthier judge`: what each of them means."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Manner(StrEnum):
    """How is judged."""

    pairwise = "pairwise"
    rubric = "rubric"


Run = Annotated[str, typer.Argument(help="Name of a run below ./runs, or the path of its folder.")]

Task = Annotated[
    str,
    typer.Option(
        help="An evaluated task by its name, or what luthier evaluate --task takes: it is evaluated first then."
    ),
]

Judge = Annotated[
    str,
    typer.Option(
        "--judge",
        metavar="MODEL",
        help="As the endpoint names it; without one a model here: a run, a name, a folder.",
    ),
]

Endpoint = Annotated[
    str | None,
    typer.Option(metavar="URL", help="OpenAI-compatible server: http://localhost:8000/v1", show_default=False),
]

By = Annotated[
    Manner, typer.Option(help="pairwise: two answers side by side, in both orders. rubric: each in points, 1 to 10.")
]

Against = Annotated[
    list[str] | None,
    typer.Option(
        help="base (the default), few_shot, another contender of the evaluation, or another run; repeat for several.",
        show_default=False,
    ),
]

Rubric = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Text that says what makes an answer good.", show_default=False),
]

Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help='What people say, .jsonl: {"id", "winner"}, with --by rubric {"id", "contender", "score"}. Without: what was '
        "decided in luthier blind, where there is any.",
        show_default=False,
    ),
]

Limit = Annotated[int | None, typer.Option(min=1, help="Judge only the first rows.", show_default=False)]

MaxTokens = Annotated[int, typer.Option("--max-tokens", min=16, help="Longest verdict.")]

KeyEnv = Annotated[str, typer.Option("--key-env", metavar="NAME", help="Environment variable with the endpoint's key.")]

Parallel = Annotated[
    int | None,
    typer.Option(min=1, help="Questions at once: 4 to an endpoint, 16 to a model here.", show_default=False),
]

PerMinute = Annotated[
    float | None, typer.Option("--per-minute", help="Questions to the endpoint at most.", show_default=False)
]

Timeout = Annotated[
    float | None, typer.Option(help="Seconds that the endpoint may take for an answer (120).", show_default=False)
]

PriceIn = Annotated[
    float | None, typer.Option("--price-in", help="Of a million tokens of questions.", show_default=False)
]

PriceOut = Annotated[
    float | None, typer.Option("--price-out", help="Of a million tokens of verdicts.", show_default=False)
]

Estimate = Annotated[bool, typer.Option("--estimate", help="Only say what it would take.")]

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before an endpoint is used.")]
