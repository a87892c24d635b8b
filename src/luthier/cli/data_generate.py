"""`luthier data generate`: examples from documents, tables, rows or prompts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.columns import Columns, read_columns
from luthier.cli.confirm import confirm_asking
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_data_generate import estimate_lines, show_estimate, show_generated, show_table
from luthier.errors import InputError


class From(StrEnum):
    """What examples are made from."""

    docs = "docs"
    table = "table"
    seeds = "seeds"
    preferences = "preferences"


def generate(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write: .jsonl or .json, also with .gz.")],
    files: Annotated[
        list[str], typer.Argument(metavar="PATH…", help="Documents, tables or rows to make examples from.")
    ],
    source: Annotated[
        From,
        typer.Option(
            "--from",
            help="docs: questions and answers from text, markdown, HTML, PDF. table: by --template, without a model. "
            "seeds: variations of rows. preferences: pairs of answers to prompts, judged.",
        ),
    ],
    template: Annotated[
        str | None,
        typer.Option(help='Of table: JSON or a file, {"question": "… {column} …", "answer": "…"}', show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="As the endpoint names it; without one a model here: a run, a name, a folder.", show_default=False
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="OpenAI-compatible server: http://localhost:8000/v1", show_default=False),
    ] = None,
    key_env: Annotated[
        str, typer.Option("--key-env", metavar="NAME", help="Environment variable with the endpoint's key.")
    ] = "OPENAI_API_KEY",
    judge: Annotated[
        str | None, typer.Option(help="Of preferences: another model of the same place, to judge.", show_default=False)
    ] = None,
    each: Annotated[
        int | None,
        typer.Option(help="Examples from each piece or seed (3), answers to each prompt (4).", show_default=False),
    ] = None,
    instruction: Annotated[str, typer.Option(help="What else to say to the model.", show_default=False)] = "",
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Longest answer (1024).", show_default=False)
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="How freely words are drawn; docs 0.7, seeds 0.9, preferences 1.0.", show_default=False),
    ] = None,
    piece_characters: Annotated[
        int | None, typer.Option("--piece-characters", help="Longest piece of a document (4000).", show_default=False)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Use only the first pieces, rows, seeds or prompts.", show_default=False)
    ] = None,
    parallel: Annotated[
        int | None,
        typer.Option(min=1, help="Questions at once: 4 to an endpoint, 16 to a model here.", show_default=False),
    ] = None,
    per_minute: Annotated[
        float | None, typer.Option("--per-minute", help="Questions to the endpoint at most.", show_default=False)
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds that the endpoint may take for an answer (120).", show_default=False)
    ] = None,
    price_in: Annotated[
        float | None, typer.Option("--price-in", help="Of a million tokens of questions.", show_default=False)
    ] = None,
    price_out: Annotated[
        float | None, typer.Option("--price-out", help="Of a million tokens of answers.", show_default=False)
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only say what it would take.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before an endpoint is used.")] = False,
    column: Columns = None,
) -> Outcome:
    """Make examples. Every answer is kept in OUT.journal.jsonl before it is used: the same command goes on after a crash.

    What does not become a row (not as asked, said twice) is in OUT.dropped.jsonl with the reason; every row says where it comes
    from under "generated". What it takes is shown, and confirmed, before an endpoint is asked.
    """
    if source is From.table:
        return _from_table(context, out, files, template, limit)
    if template is not None:
        raise InputError("--template is for --from table.")
    if model is None:
        raise InputError("Name who is asked: --model NAME, with --endpoint URL for a server.")
    if piece_characters is not None and source is not From.docs:
        raise InputError("--piece-characters is for --from docs; nothing else is cut into pieces.")
    if (price_in is None) != (price_out is None):
        raise InputError("Give both prices, --price-in and --price-out, or none.")

    from luthier.workflows.data_generate import Prices, data_generate, plan_generation
    from luthier.workflows.load_chat_model import ChatModelChoice

    def choice(name: str) -> ChatModelChoice:
        return ChatModelChoice(name, endpoint, key_env, timeout, per_minute, parallel)

    with terminal_reporter() as reporter:
        plan = plan_generation(
            source.value,  # pyright: ignore[reportArgumentType]
            files,
            out,
            choice(model),
            judge=choice(judge) if judge else None,
            each=each,
            max_tokens=1024 if max_tokens is None else max_tokens,
            temperature=temperature,
            instruction=instruction,
            piece_characters=4000 if piece_characters is None else piece_characters,
            limit=limit,
            prices=None if price_in is None or price_out is None else Prices(price_in, price_out),
            columns=read_columns(column),
            reporter=reporter,
        )
        if estimate:
            return show_estimate(plan)
        for line in estimate_lines(plan.estimate):
            reporter.say(line)
    if endpoint is not None and not yes:
        confirm_asking(context.obj, ", or --estimate")
    with terminal_reporter() as reporter:
        result = data_generate(plan, reporter=reporter)
    return Outcome(result.to_json(), lambda console: show_generated(console, result))


def _was_typed(context: typer.Context, name: str) -> bool:
    # By name: typer carries a click of its own, whose enumeration is another object than click's.
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _from_table(
    context: typer.Context, out: Path, files: list[str], template: str | None, limit: int | None
) -> Outcome:
    if template is None:
        raise InputError("--from table needs --template: JSON, or a file that holds it.")
    of_table = {"out", "files", "source", "template", "limit", "yes"}
    others = [
        option.opts[0]
        for option in context.command.params
        if option.name not in of_table and _was_typed(context, option.name or "")
    ]
    if others:
        raise InputError(f"--from table asks no model and takes all as it stands; leave away: {', '.join(others)}.")

    from luthier.workflows.data_generate_table import data_generate_table

    with terminal_reporter() as reporter:
        result = data_generate_table(files, out, template, limit=limit, reporter=reporter)
    return Outcome(result.to_json(), lambda console: show_table(console, result))
