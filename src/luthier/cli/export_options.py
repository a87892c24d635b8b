"""Options of `luthier export`: what each of them means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[
    str | None, typer.Argument(help="Name of a run below ./runs, or the path of its folder.", show_default=False)
]

To = Annotated[list[str] | None, typer.Option("--to", help="A format; repeat, or list with commas.")]

Types = Annotated[
    list[str] | None, typer.Option("--type", help="Of formats that have several, e.g. q8_0, q4_k_m; repeat.")
]

Out = Annotated[Path | None, typer.Option(help="Where to; without: exports/ in the run's folder.")]

Dtype = Annotated[
    str | None, typer.Option(help="Of merged weights: bf16, fp16 or fp32; without: the base model's own.")
]

Others = Annotated[
    list[str] | None,
    typer.Option("--with", help="RUN or RUN=WEIGHT: merge this run's adapter into the same base too; repeat."),
]

Weight = Annotated[float, typer.Option(help="Of RUN's own adapter, where there are several.")]

Combine = Annotated[str, typer.Option(help="linear, ties, dare or svd, where there are several adapters.")]

Density = Annotated[float, typer.Option(help="Share of each adapter's changes that is kept (ties, dare).")]

Rank = Annotated[int, typer.Option(help="Rank of the combined change (svd).")]

Seed = Annotated[int, typer.Option(help="For what dare drops.")]

Force = Annotated[bool, typer.Option("--force", help="Replace an earlier export.")]

NoVerify = Annotated[bool, typer.Option("--no-verify", help="Do not compare with the live model; the record says so.")]

Push = Annotated[
    str | None,
    typer.Option("--push", help="owner/name on the hub: show what would be uploaded; with --yes, do it."),
]

Yes = Annotated[bool, typer.Option("--yes", help="Really upload.")]

Public = Annotated[bool, typer.Option("--public", help="Let everybody see it; without, it is private.")]

Check = Annotated[Path | None, typer.Option("--check", help="Verify this earlier export again, instead of exporting.")]
