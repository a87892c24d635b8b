"""The last screen of the demo: what the three contenders reached, three examples, where to look and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from luthier.cli.views import show_failed_checks, show_next
from luthier.runs.folder import RunFolder
from luthier.units import format_seconds, format_share

if TYPE_CHECKING:
    from luthier.workflows.demo import DemoResult


def show_demo(console: Console, result: DemoResult) -> None:
    """Show a finished demo."""
    contenders = (
        ("base model, question alone", result.base),
        ("base model, examples in the prompt", result.few_shot),
        ("tuned model, question alone", result.tuned),
    )
    console.print(
        Text(f"\nRight answers of {result.base.num_rows} held-out questions, judged by executing the SQL", style="bold")
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    for label, contender in contenders:
        interval = f"{format_share(contender.low)} to {format_share(contender.high)}"
        table.add_row(
            label, Text(format_share(contender.execution_accuracy), style="bold"), Text(interval, style="dim")
        )
    console.print(table)
    for name, difference in (
        ("the base model", result.difference),
        ("examples in the prompt", result.difference_few_shot),
    ):
        mean, low, high = (100 * x for x in difference)
        console.print(f"Gain over {name}: {mean:+.1f} points (paired 95 % interval {low:+.1f} to {high:+.1f})")
    for example in result.examples[:3]:
        console.print(Text(f"\n{example.question}", style="bold"))
        _show_answer(console, "base", example.base, example.base_correct)
        _show_answer(console, "few-shot", example.few_shot, example.few_shot_correct)
        _show_answer(console, "tuned", example.tuned, example.tuned_correct)
    console.print()
    show_failed_checks(console, result.checks)
    console.print(
        f"Took {format_seconds(result.seconds)}. The questions are generated; the model is de-quantised from Q4_1."
    )
    console.print(f"Report: {result.report}", soft_wrap=True)
    show_next(
        console,
        (f"luthier chat {RunFolder(result.run).typed}", "talk with it, /both: beside its base model"),
        (
            "luthier train recipes/sft_lora.yaml data.train=my_chats.jsonl run.name=my-first-run",
            "train on your own data",
        ),
    )


def _show_answer(console: Console, contender: str, answer: str, is_correct: bool) -> None:
    verdict = ("right", "green") if is_correct else ("wrong", "red")
    line = Text.assemble((f"{contender:<9}", "dim"), verdict, f"  {_one_line(answer)}")
    console.print(Padding(line, (0, 0, 0, 2), expand=False))


def _one_line(text: str, limit: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
