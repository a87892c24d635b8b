"""Options of `luthier evaluate`: what each of them means."""

from __future__ import annotations

from typing import Annotated

import typer

Run = Annotated[str, typer.Argument(help="Name of a run below ./runs, or the path of its folder.")]

Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        help="general (what may have been forgotten), safety (refusals, memorisation, leakage), heldout (rows that the "
        "run kept back), another built-in task, a task file, or a known data set as NAME:FILE (gsm8k, mbpp, banking77, "
        "wikisql, mt_bench); repeat for several. "
        "Without: those of the recipe, or general.",
    ),
]

Requirements = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        help='A gate, e.g. "sql.accuracy >= base + 0.2" or "lower(sql.accuracy - base) >= 0.1"; exit code 1 where it is '
        "not met. Repeat for several.",
    ),
]

Others = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="OTHER",
        help="Another contender: a run, RUN@best or RUN@last, a .gguf file, a model or adapter folder, a model's name, or "
        "MODEL@http://…/v1 for an endpoint. Repeat for several.",
        show_default=False,
    ),
]

KeyEnv = Annotated[str, typer.Option("--key-env", metavar="NAME", help="Environment variable with the endpoint's key.")]

Parallel = Annotated[int, typer.Option(min=1, help="Questions to an endpoint at once.")]

PerMinute = Annotated[
    float | None, typer.Option("--per-minute", help="Questions to an endpoint at most.", show_default=False)
]

Timeout = Annotated[float, typer.Option(help="Seconds that an endpoint may take for an answer.")]

PriceIn = Annotated[
    float | None,
    typer.Option("--price-in", help="Of a million tokens of questions to an endpoint.", show_default=False),
]

PriceOut = Annotated[
    float | None, typer.Option("--price-out", help="Of a million tokens of its answers.", show_default=False)
]

Fresh = Annotated[
    bool,
    typer.Option("--fresh", help="Make all answers anew, also those already known; not what an endpoint was paid for."),
]

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before an endpoint is used.")]
