"""`luthier advise`: should I fine-tune at all, and how?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.columns import read_columns
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter

app = typer.Typer(add_completion=False)
YesNo = bool | None


@app.command()
def advise(
    context: typer.Context,
    task: Annotated[str | None, typer.Option(help="What it is about, in a word: code, maths, chat, …")] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Examples: a file, folder or pattern; they are checked.")
    ] = None,
    columns: Annotated[list[str] | None, typer.Option("--column", help="part=name, where columns differ.")] = None,
    evaluation: Annotated[
        str | None, typer.Option("--eval", help="A task file, or a built-in task: questions with right answers.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model to ask, and to tune; without: chosen.")] = None,
    target: Annotated[float, typer.Option(help="Score in --eval from which on a prompt is good enough.")] = 0.9,
    eval_rows: Annotated[int | None, typer.Option(min=1, help="Ask at most so many questions of --eval.")] = None,
    gpu: Annotated[str, typer.Option(help="Card to train on: T4, RTX-4090, H100, …; here: this machine.")] = "here",
    hours: Annotated[float, typer.Option(min=0.01, help="Longest training; picks the model.")] = 12.0,
    licence: Annotated[str | None, typer.Option(help="Only models with such a licence, e.g. apache.")] = None,
    few_shot_tried: Annotated[str | None, typer.Option(help="yes or no: worked examples in the prompt.")] = None,
    good_enough: Annotated[str | None, typer.Option("--prompt-good-enough", help="yes or no: it suffices.")] = None,
    inconsistent: Annotated[YesNo, typer.Option(help="Prompting works now and then.")] = None,
    fresh: Annotated[YesNo, typer.Option("--needs-fresh-knowledge/--no-fresh-knowledge", help="Prices, news.")] = None,
    private_documents: Annotated[
        YesNo, typer.Option("--needs-private-documents/--no-private-documents", help="Answers stand in yours.")
    ] = None,
    changes_often: Annotated[YesNo, typer.Option(help="What is to be known changes monthly or more often.")] = None,
    privacy: Annotated[YesNo, typer.Option(help="Questions and data must stay in the house.")] = None,
    style_only: Annotated[YesNo, typer.Option(help="Only style or form has to change.")] = None,
    strict_format: Annotated[YesNo, typer.Option(help="Every answer has one exact format.")] = None,
    persona: Annotated[YesNo, typer.Option(help="A character or brand voice.")] = None,
    verifiable: Annotated[YesNo, typer.Option(help="A program can tell right answers.")] = None,
    volume: Annotated[int | None, typer.Option(min=0, help="Requests a day.")] = None,
    latency: Annotated[int | None, typer.Option(min=1, help="Most milliseconds until the answer.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Write the recipe that is advised here.")] = None,
    rules: Annotated[bool, typer.Option("--rules", help="List all rules with their sources.")] = False,
) -> Outcome:
    """Prompt, retrieve or fine-tune? With reasons, each from a rule that has a source; what can be measured is measured.

    Without options, in a terminal: a few questions. --data runs the data check, --eval with --model measures what prompts
    alone reach.
    """
    from luthier.cli.advise_questions import asked_where_nothing_was_said
    from luthier.cli.show_advise import show_advice, show_rules
    from luthier.workflows.advise import AdviseRequest, list_rules, said_in_words
    from luthier.workflows.advise import advise as run_advise

    if rules:
        known = list_rules()
        return Outcome({"rules": known}, lambda console: show_rules(console, known))
    words = {
        "task": task, "few_shot_tried": few_shot_tried, "prompt_suffices": good_enough, "inconsistent": inconsistent,
        "fresh_knowledge": fresh, "private_documents": private_documents, "changes_often": changes_often,
        "privacy": privacy, "style_only": style_only, "strict_format": strict_format, "persona": persona,
        "verifiable": verifiable, "volume": volume, "latency_ms": latency,
    }  # fmt: skip
    words, files = asked_where_nothing_was_said(context.obj, words, tuple(data or ()), evaluation)
    request = AdviseRequest(
        said=said_in_words(words), data=files, columns=read_columns(columns), evaluation=evaluation,
        model=model, gpu=gpu, licence=licence, hours=hours, target=target, eval_rows=eval_rows, recipe=recipe,
    )  # fmt: skip
    with terminal_reporter() as reporter:
        result = run_advise(request, reporter)
    return Outcome(result.to_json(), lambda console: show_advice(console, result))
