"""`luthier export`: a run's result as files for other programs, verified."""

from __future__ import annotations

import typer
from rich.console import Console

from luthier.cli import export_options as options
from luthier.cli.dispatch import Outcome, UsageError
from luthier.cli.export_check import Upload, check_again
from luthier.cli.render import terminal_reporter
from luthier.runs.find import find_run

app = typer.Typer(add_completion=False)


@app.command()
def export(
    run: options.Run = None,
    to: options.To = None,
    types: options.Types = None,
    out: options.Out = None,
    dtype: options.Dtype = None,
    others: options.Others = None,
    weight: options.Weight = 1.0,
    combine: options.Combine = "linear",
    density: options.Density = 0.5,
    rank: options.Rank = 16,
    seed: options.Seed = 0,
    force: options.Force = False,
    no_verify: options.NoVerify = False,
    push: options.Push = None,
    yes: options.Yes = False,
    public: options.Public = False,
    check: options.Check = None,
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
        return check_again(check, None if run is None else find_run(run), upload)
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
