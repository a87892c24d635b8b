"""How runs look on a terminal: the list, the state of one, what a launch and a stop did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from luthier.cli.sparkline import sparkline
from luthier.cli.views import show_next, state_text, table_of
from luthier.runs.folder import RunFolder
from luthier.units import format_age, format_bytes, format_seconds

if TYPE_CHECKING:
    from luthier.runs.launch import Launched, Stopped
    from luthier.workflows.list_runs import RunSummary
    from luthier.workflows.watch import RunState

CURVE_WIDTH = 14
LEAST_WIDTH = 76
"""Of a terminal that has room for time and size too."""


def show_runs(console: Console, runs: Sequence[RunSummary], folder: Path) -> None:
    """A table, newest first."""
    if not runs:
        console.print(f"No runs in {folder}. Start one: luthier demo, or luthier train recipes/sft_lora.yaml")
        return
    is_wide = console.width >= LEAST_WIDTH
    table = table_of("run", "state", "training loss", "valid.", *(("time", "size") if is_wide else ()), "age")
    curve = table.columns[2]
    curve.justify, curve.no_wrap, curve.min_width = "left", True, CURVE_WIDTH
    for run in runs:
        loss = "" if run.train_loss is None else f"{run.train_loss:.3f}"
        table.add_row(
            Text.assemble(run.name, "\n", (f"{model_name(run.base_model)}, {run.method}", "dim")),
            Text.assemble(state_text(run.status, run.verdict), "\n", (f"{run.step}/{run.total_steps}", "dim")),
            f"{sparkline(run.loss_curve, CURVE_WIDTH, encoding=console.encoding)}\n{loss}",
            "" if run.validation_loss is None else f"\n{run.validation_loss:.3f}",
            *((format_seconds(run.seconds), format_bytes(run.size_bytes)) if is_wide else ()),
            format_age(run.age_seconds),
        )
    console.print(table)
    for run in runs:
        if run.error:
            console.print(f"{run.name}: {run.error}", soft_wrap=True)
    commands = [(f"luthier report {RunFolder(runs[0].path).typed} --open", "all about the newest")]
    if len(runs) > 1:
        names = " ".join(RunFolder(run.path).typed for run in runs[1::-1])
        commands.append((f"luthier compare {names}", "what differs"))
    show_next(console, *commands)


def model_name(base_model: str) -> str:
    """A hub id or built-in name as it is; of a folder its last part."""
    return Path(base_model).name if base_model.startswith(("/", ".", "~")) else base_model


def show_state(console: Console, state: RunState) -> None:
    """One run, as it stands or as it ended."""
    name = state.run.name
    console.print(
        Text.assemble(f"{name}: ", state_text(state.status, state.verdict), f", step {state.step}/{state.total_steps}")
    )
    losses = [
        f"{words} {state.figures[key]:.4f}"
        for key, words in (("loss", "training loss"), ("validation_loss", "validation loss"))
        if key in state.figures
    ]
    if losses:
        console.print("; ".join(losses))
    if state.error:
        console.print(state.error, soft_wrap=True)
    report = state.run / "report.html"
    if state.status == "finished" and report.is_file():
        console.print(f"Report: {report}", soft_wrap=True)
    run = RunFolder(state.run).typed
    if state.status == "finished":
        show_next(console, (f"luthier chat {run}", "talk with it"), (f"luthier report {run} --open", "see all of it"))
    elif state.status == "running":
        show_next(console, (f"luthier stop {run}", "save and end it"))


def show_launch(console: Console, launched: Launched) -> None:
    """Where the run is, and what to do with it."""
    run, name = launched.run, RunFolder(launched.run).typed
    console.print(f"Run:    {run} (process {launched.pid}; it goes on when this terminal is closed)", soft_wrap=True)
    console.print(f"Log:    {launched.log}", soft_wrap=True)
    show_next(console, (f"luthier watch {name}", "follow it"), (f"luthier stop {name}", "save and end it"))


def show_stop(console: Console, stopped: Stopped) -> None:
    """What was done, and how to go on."""
    where = f"step {stopped.step} of {stopped.total_steps}"
    name = stopped.run.name
    words = {
        "stopped": f"{name} has stopped ({stopped.status}) at {where}.",
        "was not running": f"{name} is not running: {stopped.status}, {where}.",
        "put right": f"{name} was said to be running, but its process had gone. It is now marked {stopped.status}, {where}.",
    }
    console.print(words[stopped.action], soft_wrap=True)
    if stopped.status == "finished":
        return
    if stopped.saved:
        console.print(
            f"Its state is saved. Continue with: luthier train --resume {RunFolder(stopped.run).typed}", soft_wrap=True
        )
    elif stopped.step:
        console.print("No checkpoint was made, so it must begin again: luthier train … --overwrite", soft_wrap=True)
    else:
        console.print("It had not begun to learn. The same luthier train command begins it anew.", soft_wrap=True)
