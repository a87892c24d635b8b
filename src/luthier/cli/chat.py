"""`luthier chat`: talk with a run, its base model, or both."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.errors import InputError
from luthier.runs.find import find_run

app = typer.Typer(add_completion=False)


@app.command()
def chat(
    run: Annotated[str, typer.Argument(help="Name of a run below ./runs, or the path of its folder.")],
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="Answer this and end, instead of asking for messages.")
    ] = None,
    base: Annotated[bool, typer.Option("--base", help="Begin with the base model.")] = False,
    both: Annotated[bool, typer.Option("--both", help="Begin with base and tuned model, one after the other.")] = False,
    system: Annotated[str | None, typer.Option("--system", help="System prompt, instead of the run's own.")] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="0 takes the most probable token.", show_default=False)
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", help="Longest answer.", show_default=False)
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda or mps; without: as the run.", show_default=False)
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", help="Ask RUN at this address of luthier serve.", show_default=False)
    ] = None,
    key_env: Annotated[str, typer.Option("--key-env", help="Variable with the server's key.")] = "LUTHIER_API_KEY",
) -> Outcome:
    """Talk with a trained run as it was trained to be talked with. /help inside names the commands.

    /base, /tuned and /both switch in place: both answer from one model in memory.
    """
    path = find_run(run) if server is None else Path(run)
    if base and both:
        raise InputError("Give --base or --both, not both of them.")
    if message is not None and not message.strip():
        raise InputError("The message is empty. Leave --message out to be asked for messages.")

    from luthier.cli.chat_loop import answer_once, converse
    from luthier.workflows.chat import ChatSession
    from luthier.workflows.load_run import load_run
    from luthier.workflows.served_chat import ServedChat

    if server is not None:
        key = os.environ.get(key_env) or None
        session: ChatSession = ServedChat(server, run, key=key, max_new_tokens=max_new_tokens)
    else:
        with terminal_reporter() as reporter:
            reporter.stage(f"Load {path.name}")
            session = ChatSession(load_run(path, device=device, reporter=reporter), max_new_tokens=max_new_tokens)
    session.mode = "both" if both else "base" if base else "tuned"
    session.set_system(system)
    if temperature is not None:
        session.set_temperature(temperature)
    if message is None:
        return converse(session)
    return answer_once(session, message, path)
