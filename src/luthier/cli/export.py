"""`luthier export`: a run's result as files for other programs, verified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

from luthier.cli.dispatch import Outcome, UsageError
from luthier.cli.render import terminal_reporter
from luthier.runs.find import find_run

app = typer.Typer(add_completion=False)


class Upload(NamedTuple):
    """What --push, --public and --yes say together."""

    repo_id: str
    private: bool
    really: bool


@app.command()
def export(
    run: Annotated[
        str | None, typer.Argument(help="Name of a run below ./runs, or the path of its folder.", show_default=False)
    ] = None,
    to: Annotated[list[str] | None, typer.Option("--to", help="A format; repeat, or list with commas.")] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Of formats that have several, e.g. q8_0, q4_k_m; repeat.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to; without: exports/ in the run's folder.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of merged weights: bf16, fp16 or fp32; without: the base model's own.")
    ] = None,
    others: Annotated[
        list[str] | None,
        typer.Option("--with", help="RUN or RUN=WEIGHT: merge this run's adapter into the same base too; repeat."),
    ] = None,
    weight: Annotated[float, typer.Option(help="Of RUN's own adapter, where there are several.")] = 1.0,
    combine: Annotated[
        str, typer.Option(help="linear, ties, dare or svd, where there are several adapters.")
    ] = "linear",
    density: Annotated[float, typer.Option(help="Share of each adapter's changes that is kept (ties, dare).")] = 0.5,
    rank: Annotated[int, typer.Option(help="Rank of the combined change (svd).")] = 16,
    seed: Annotated[int, typer.Option(help="For what dare drops.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Do not compare with the live model; the record says so.")
    ] = False,
    push: Annotated[
        str | None,
        typer.Option("--push", help="owner/name on the hub: show what would be uploaded; with --yes, do it."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Really upload.")] = False,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; without, it is private.")] = False,
    check: Annotated[
        Path | None, typer.Option("--check", help="Verify this earlier export again, instead of exporting.")
    ] = None,
) -> Outcome:
    """Write a run's result for other programs, and compare it with what was trained before it takes its name.

    \b
    Formats:
    adapter       the adapter alone (PEFT layout), beside its base model
    merged        one model with the adapter in its weights (safetensors)
    gguf          llama.cpp, LM Studio; --type f32, f16, bf16, q8_0, q6_k, q5_k_m, q4_k_m
    gguf-adapter  LoRA alone for llama.cpp, beside a GGUF of its base
    ollama        GGUF and Modelfile; types as gguf
    mlx           MLX's layout; --type bf16, q8, q4
    bnb-nf4       the merged model in 4 bits (bitsandbytes)
    bnb-int8      the merged model in 8 bits (bitsandbytes)
    """  # noqa: D301 - click wants the backspace itself: what follows it is not wrapped
    upload = None if push is None else Upload(push, private=not public, really=yes)
    if upload is None and (yes or public):
        raise UsageError("--yes and --public belong to --push owner/name.\nHelp: luthier export --help")
    if check is not None:
        if to or types or out or dtype or others or force or no_verify:
            raise UsageError(
                "--check verifies an export as it is: it takes RUN and --push, nothing else.\nHelp: luthier export --help"
            )
        return _check(check, None if run is None else find_run(run), upload)
    if run is None:
        raise UsageError("Which run? luthier export RUN --to merged\nHelp: luthier export --help")
    path = find_run(run)

    from luthier.workflows.export import export as run_export
    from luthier.workflows.export_request import combination_of
    from luthier.workflows.push_export import push_export, refuse_push

    if upload is not None:
        refuse_push(upload.repo_id, to or (), verify=not no_verify)
    other_runs, combination = combination_of(others or (), weight, combine, density, rank, seed)
    with terminal_reporter() as reporter:
        result = run_export(
            path,
            to=to or (),
            types=types or (),
            out=out,
            dtype=dtype,
            others=other_runs,
            combination=combination,
            force=force,
            verify=not no_verify,
            reporter=reporter,
        )
        pushed = None if upload is None else push_export(result.exports[0].folder, *upload, reporter=reporter)

    def show(console: Console) -> None:
        from luthier.cli.show_export import show_export

        show_export(console, result, pushed)

    return Outcome(result.to_json() | ({} if pushed is None else {"push": pushed.to_json()}), show)


def _check(folder: Path, run: Path | None, upload: Upload | None) -> Outcome:
    from luthier.workflows.export import check_export
    from luthier.workflows.push_export import push_export

    with terminal_reporter() as reporter:
        result = check_export(folder, run=run, reporter=reporter)
        pushed = push_export(folder, *upload, reporter=reporter) if upload is not None and result.passed else None

    def show(console: Console) -> None:
        from luthier.cli.show_export import show_check

        show_check(console, result, pushed)

    content = result.to_json() | ({} if pushed is None else {"push": pushed.to_json()})
    return Outcome(content, show, exit_code=0 if result.passed else 1)
