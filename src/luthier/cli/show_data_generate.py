"""How the making of examples is read in a terminal: what it takes, and what came of it."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console

from luthier.cli.dispatch import Outcome
from luthier.units import format_count

if TYPE_CHECKING:
    from luthier.workflows.data_generate import Estimate, GenerateResult, Generation
    from luthier.workflows.data_generate_table import TableResult


def estimate_lines(estimate: Estimate) -> list[str]:
    """What it takes, in words."""
    known = f", {estimate.num_known:,} of them answered already" if estimate.num_known else ""
    tokens = (
        f"{format_count(estimate.prompt_tokens)} tokens of questions, {format_count(estimate.answer_tokens)} of answers"
    )
    lines = [
        f"{estimate.num_questions:,} questions about {estimate.num_things:,} things{known}.",
        f"About {tokens} (at most {format_count(estimate.answer_tokens_most)}).",
    ]
    if estimate.cost is not None and estimate.cost_most is not None:
        lines.append(f"About {estimate.cost:,.2f} at these prices, at most {estimate.cost_most:,.2f}.")
    return lines


def show_estimate(plan: Generation) -> Outcome:
    """The estimate alone."""
    content = {"estimate": asdict(plan.estimate), "model": plan.choice.model, "kind": plan.kind}

    def show(console: Console) -> None:
        for line in estimate_lines(plan.estimate):
            console.print(line, soft_wrap=True)
        console.print("Next: the same command without --estimate; --limit 3 tries it on a few.", soft_wrap=True)

    return Outcome(content, show)


def show_generated(console: Console, result: GenerateResult) -> None:
    """What was written, set aside and paid."""
    console.print(f"{result.path}: {result.num_written:,} rows from {result.num_things:,} things", soft_wrap=True)
    _show_aside(console, str(result.dropped), result.aside)
    if result.kind == "preferences" and result.num_contradictions:
        console.print(f"  the judge contradicted itself about {result.num_contradictions:,} of them", soft_wrap=True)
    used = f"{format_count(result.prompt_tokens)} + {format_count(result.answer_tokens)} tokens"
    money = "" if result.cost is None else f", {result.cost:,.2f} at these prices"
    console.print(
        f"{result.num_asked:,} questions were asked: {used}{money}. Answers: {result.journal}", soft_wrap=True
    )
    console.print(f"Next: luthier data review {shlex.quote(str(result.path))}", soft_wrap=True)


def show_table(console: Console, result: TableResult) -> None:
    """What was written and set aside."""
    console.print(f"{result.path}: {result.num_written:,} rows from {result.num_read:,} of the table", soft_wrap=True)
    _show_aside(console, str(result.dropped), result.aside)
    console.print(f"Next: luthier data check {shlex.quote(str(result.path))}", soft_wrap=True)


def _show_aside(console: Console, dropped: str, aside: dict[str, int]) -> None:
    if aside:
        console.print(f"{dropped}: {sum(aside.values()):,} set aside, with reasons", soft_wrap=True)
        for rule, count in aside.items():
            console.print(f"  {count:>7,}  {rule.replace('_', ' ')}")
