"""Results for people, on stdout. Each function shows one workflow's result and decides nothing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from luthier.cli.hanging import print_hanging
from luthier.runs.folder import RunFolder
from luthier.units import format_score, format_seconds, format_share

if TYPE_CHECKING:
    from luthier.config.fields import FieldWords
    from luthier.config.load import LoadedRecipe
    from luthier.evaluation.result import TaskResult
    from luthier.types import Check
    from luthier.workflows.train import TrainResult
    from luthier.workflows.verify_resume import VerifyResult


def show_train(console: Console, result: TrainResult) -> None:
    """Verdict, losses, failed checks, what the curves show, where everything lies."""
    console.print(state_text("finished", result.verdict))
    figures = [f"{result.steps} steps in {format_seconds(result.seconds)}"]
    if result.train_loss is not None:
        figures.append(f"training loss {result.train_loss:.4f}")
    if result.validation_loss is not None:
        figures.append(f"validation loss {result.validation_loss:.4f}")
    console.print("; ".join(figures))
    if result.stopped_early:
        console.print(result.stopped_early)
    show_failed_checks(console, result.checks)
    for diagnosis in result.diagnosis:
        text = Text.assemble(("  curves: ", "bold yellow"), f"{diagnosis.message} {diagnosis.advice}")
        print_hanging(console, text, indent=4)
    console.print(f"Result: {result.result} (step {result.result_step})", soft_wrap=True)
    console.print(f"Report: {result.report}", soft_wrap=True)
    run = RunFolder(result.run).typed
    if result.evaluation is not None:
        show_evaluation(console, result.evaluation.tasks)
    show_next(console, (f"luthier chat {run}", "talk with it"), (f"luthier report {run} --open", "see all of it"))


def show_next(console: Console, *commands: tuple[str, str]) -> None:
    """The last lines of a verb: what to type next, and what for."""
    width = max(len(command) for command, _ in commands)
    for index, (command, purpose) in enumerate(commands):
        label = "Next:   " if index == 0 else "        "
        console.print(Text.assemble(f"{label}{command:<{width}}", (f"  {purpose}", "dim")), soft_wrap=True)


def show_evaluation(console: Console, tasks: Sequence[TaskResult]) -> None:
    """Each task: the contenders' means with intervals, and what the paired comparisons allow to say."""
    for task in tasks:
        console.print(Text(f"{task.task}: {task.metric} on {task.num_rows} rows", style="bold"))
        table = table_of("contender", "mean", "95 % interval", "stopped", "empty")
        for contender in task.contenders:
            mean, low, high = (format_score(value, is_share=task.is_share) for value in contender.mean)
            stopped = contender.share_stopped
            ends = ("–", "–") if stopped is None else (format_share(stopped), str(contender.num_empty))
            table.add_row(contender.name, mean, f"{low} to {high}", *ends)
        console.print(table)
        for contender in task.contenders:
            if figures := contender.numbers():
                console.print(f"  {contender.name}: " + ", ".join(f"{k} {v:.4g}" for k, v in figures.items()))
        for comparison in task.comparisons():
            console.print(comparison.sentence())
        for note in task.notes:
            console.print(note)


def show_verify(console: Console, result: VerifyResult) -> None:
    """Each check, and the verdict."""
    for check in result.checks:
        mark = ("pass", "green") if check.passed else ("FAIL", "bold red")
        text = Text.assemble(mark, f"  {check.claim} (measured {check.measured}, limit {check.limit})")
        print_hanging(console, text, indent=6)
    console.print("Resume is exact." if result.passed else "Resume is NOT exact.")


def show_failed_checks(console: Console, checks: Sequence[Check]) -> None:
    """A count, and every failed check with its advice."""
    failed = [c for c in checks if not c.passed]
    console.print(f"{len(checks) - len(failed)} checks passed, {len(failed)} failed")
    for check in failed:
        unit = f" {check.unit}" if check.unit else ""
        text = Text.assemble(("  FAIL ", "bold red"), f"{check.claim} Measured {check.measured}{unit}. {check.advice}")
        print_hanging(console, text, indent=4)


def show_recipe(console: Console, loaded: LoadedRecipe, path: Path, overrides: Sequence[str]) -> None:
    """The resolved recipe; it can be saved and used as one, its last line being a comment."""
    from luthier.config.load import dump_resolved, resolve

    for line in dump_resolved(resolve(loaded), loaded.origins).splitlines():
        value, mark, origin = line.partition("  # ")
        console.print(Text.assemble(value, (mark + origin, "dim")), soft_wrap=True)
    command = shlex.join(["luthier", "train", str(path), *overrides])
    console.print(Text(f"# No fault found. Next: {command}", style="dim"), soft_wrap=True)


def show_fields(console: Console, fields: Sequence[FieldWords]) -> None:
    """Every recipe field: what it takes, what it is by default, what it does."""
    for field in fields:
        default = f", default {field['default']}" if field["default"] else ", required"
        console.print(Text.assemble((field["name"], "bold"), (f"  {field['takes']}{default}", "dim")))
        console.print(Padding(field["meaning"], (0, 0, 0, 4), expand=False))


def state_text(status: str, verdict: str | None) -> Text:
    """A run's state in one coloured word; for a finished one, its verdict."""
    styles = {
        "verified": "green",
        "unverified": "bold red",
        "running": "cyan",
        "failed": "bold red",
        "interrupted": "yellow",
    }
    word = verdict if status == "finished" and verdict else status
    return Text(word, style=styles.get(word, ""))


def table_of(*columns: str) -> Table:
    """A plain table: the first two columns to the left, figures to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < 2 else "right", overflow="fold")
    return table
