"""How judging is read in a terminal: what it takes, and what the judge said."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console

from luthier.cli.dispatch import Outcome
from luthier.cli.views import show_evaluation, show_next
from luthier.runs.folder import RunFolder
from luthier.units import format_count

if TYPE_CHECKING:
    from luthier.evaluation.asking_estimate import AskingEstimate
    from luthier.workflows.judge import JudgeResult, Judging


def estimate_lines(estimate: AskingEstimate, whom: str = "the judge", what: str = "verdicts") -> list[str]:
    """What it takes, in words."""
    left = estimate.num_questions - estimate.num_known
    known = f", {estimate.num_known:,} of them answered already" if estimate.num_known else ""
    lines = [f"{estimate.num_questions:,} questions to {whom}{known}."]
    if left:
        lines.append(
            f"About {format_count(estimate.prompt_tokens)} tokens of questions, {format_count(estimate.answer_tokens)} of "
            f"{what} (at most {format_count(estimate.answer_tokens_most)})."
        )
    if estimate.cost is not None and estimate.cost_most is not None:
        lines.append(f"About {estimate.cost:,.2f} at these prices, at most {estimate.cost_most:,.2f}.")
    return lines


def estimate_outcome(plan: Judging) -> Outcome:
    """The estimate alone."""
    content = {"estimate": asdict(plan.estimate), "judge": plan.choice.model, "run": str(plan.folder.path)}

    def show(console: Console) -> None:
        for line in estimate_lines(plan.estimate):
            console.print(line, soft_wrap=True)
        console.print("Next: the same command without --estimate; --limit 3 tries it on a few.", soft_wrap=True)

    return Outcome(content, show)


def show_judged(console: Console, result: JudgeResult) -> None:
    """Scores, differences, what the judge is worth, what it cost."""
    show_evaluation(console, result.tasks)
    for task in result.tasks:
        for note in task.notes:
            console.print(f"  {note}", soft_wrap=True)
    used = f"{format_count(result.prompt_tokens)} + {format_count(result.answer_tokens)} tokens"
    money = "" if result.cost is None else f", {result.cost:,.2f} at these prices"
    console.print(
        f"{result.num_asked:,} questions were asked: {used}{money}. Verdicts: {result.journal}", soft_wrap=True
    )
    run = RunFolder(result.run).typed
    show_next(
        console,
        (f"luthier report {run} --open", "every verdict"),
        (f"luthier blind {run}", "judge some yourself, to see how far the judge can be believed"),
    )
