"""`luthier serve`: runs and their base behind an OpenAI-compatible address, and a page to chat."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from luthier.cli import serve_options as options
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.views import show_next

app = typer.Typer(add_completion=False)


@app.command()
def serve(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Runs of one base, by name or path.", show_default=False),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", help="A model to serve without runs (name, folder, hub id).", show_default=False),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address; another than this machine's own needs keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 for any that is free.")] = 8000,
    api_key_file: options.KeyFile = None,
    runs_folder: options.RunsFolder = Path("runs"),
    max_prompt_tokens: options.PromptTokens = 4096,
    max_output_tokens: options.OutputTokens = 1024,
    max_concurrent: options.Concurrent = 16,
    max_queue: options.Queue = 64,
    max_body_bytes: options.BodyBytes = 1024**2,
    answer_seconds: options.AnswerSeconds = 600,
    drain_seconds: options.DrainSeconds = 60,
    cache_gib: options.CacheGib = 4,
    device: Annotated[
        str | None,
        typer.Option("--device", help="auto, cpu, cuda or mps; without: as the first run.", show_default=False),
    ] = None,
) -> Outcome:
    """Serve runs and their base model as OpenAI's interface has it: chat completions, completions, models; a chat page at /.

    Clients choose by "model": base, or the name of a run. All are answered in one batch. Adapters of other runs are loaded and
    unloaded while it runs (POST {"run": NAME} and DELETE under /v1/adapters). Ctrl-C or SIGTERM finishes what is running.
    """
    from luthier.serve.limits import Limits
    from luthier.workflows.serve import ServeWish
    from luthier.workflows.serve import serve as run_server

    limits = Limits(
        max_prompt_tokens, max_output_tokens, max_body_bytes, max_concurrent, max_queue,
        answer_seconds=answer_seconds, drain_seconds=drain_seconds,
    )  # fmt: skip
    cache_bytes = int(cache_gib * 1024**3)
    wish = ServeWish(tuple(runs or ()), base, host, port, api_key_file, runs_folder, limits, cache_bytes, device)
    with terminal_reporter() as reporter:
        result = run_server(wish, reporter)

    def show(console: Console) -> None:
        console.print(f"Ended. {result.num_requests} requests were answered.")
        show_next(console, ("luthier runs", "what else there is to serve"))

    return Outcome(result.to_json(), show)
