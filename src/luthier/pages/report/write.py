"""Reads a run folder, lays out the page, writes report.html."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from luthier.config.yaml_source import read_yaml
from luthier.errors import RunError
from luthier.pages.page import render_page
from luthier.pages.report.curves import read_training
from luthier.pages.report.evaluation import TaskView, read_tasks
from luthier.pages.report.memory import read_memory
from luthier.pages.report.progress import read_progress
from luthier.pages.report.records import read_data, read_environment, read_recipe, read_samples, show_checks
from luthier.pages.report.safety import read_safety, tells_the_cost
from luthier.pages.report.section import build_section
from luthier.pages.report.tokens import read_tokens
from luthier.pages.report.verdict import verdict
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest, now
from luthier.runs.process import has_checkpoint
from luthier.units import format_count, format_seconds

HERE = Path(__file__).parent


class Part(NamedTuple):
    """A part of the page that is read from one file: what reads it, and what is said where the run has not written it."""

    read: Callable[[RunFolder], Any]
    file: str
    absent: str


PARTS: dict[str, Part] = {
    "training": Part(read_training, "metrics.jsonl", "No step of the training has been recorded."),
    "safety": Part(
        read_safety,
        "evaluation/forgetting.json",
        "What tuning cost elsewhere has not been measured. Measure it with: luthier evaluate RUN --task general --task safety",
    ),
    "progress": Part(
        read_progress,
        "samples_over_time.jsonl",
        "No prompt was answered during the training: there were no validation rows, or evaluate.sample_prompts is 0.",
    ),
    "tokens": Part(read_tokens, "token_view.json", "The run ended before any of its rows were recorded."),
    "samples": Part(
        read_samples,
        "samples.jsonl",
        "No answers of the tuned model have been recorded; they are written at the end of a run.",
    ),
    "data": Part(read_data, "data.json", "The run ended before its data were recorded."),
    "recipe": Part(read_recipe, "recipe.resolved.yaml", "The run ended before its recipe was recorded."),
    "environment": Part(read_environment, "environment.json", "The run ended before its environment was recorded."),
}


def write_report(run: Path) -> Path:
    """Write ``report.html`` into a run folder from what is in the folder alone.

    Parts that the run has not written (it was interrupted, nothing was evaluated) are named as missing in the page.

    Returns:
        Path of the page.

    Raises:
        RunError: There is no run at `run`, or its run.json cannot be read.
    """
    folder = RunFolder.open(run)
    page = render_page(
        "report.html.j2", _view(folder), folders=[HERE], styles=[HERE / "report.css"], script=HERE / "report.js"
    )
    folder.write_text("report.html", page)
    return folder / "report.html"


def _view(folder: RunFolder) -> dict[str, Any]:
    manifest = _manifest(folder)
    evaluation = build_section(
        # What it was trained for comes first.
        lambda: sorted(read_tasks(folder) or [], key=lambda task: tells_the_cost(task.name)) or None,
        files="evaluation/",
        absent=(
            f"This run has not been evaluated yet. Run: {_evaluate_command(folder)}"
            if manifest.status == "finished"
            else "The run has not come to its end, so there is no result to evaluate yet."
        ),
    )
    checks = build_section(folder.checks, files="checks.jsonl", absent="")
    tasks, made = evaluation.content or [], checks.content or []
    notes = [str(note) for note in manifest.summary.get("notes", [])]
    if early := manifest.summary.get("stopped_early"):
        notes.insert(0, str(early))
    return {
        "manifest": manifest,
        "written_at": now(),
        "verdict": verdict(manifest, tasks, made),
        "facts": _facts(manifest),
        "notes": notes,
        "evaluation": evaluation,
        "checks": build_section(
            lambda: show_checks(made), files="checks.jsonl", absent=checks.absent or "No checks have been recorded."
        ),
        "memory": build_section(
            lambda: read_memory(folder, made),
            files="metrics.jsonl",
            absent="The run ended before both the trial step and a training step were measured.",
        ),
        **{
            name: build_section(partial(part.read, folder), files=part.file, absent=part.absent)
            for name, part in PARTS.items()
        },
        "commands": next_commands(
            manifest, _typed(folder), _evaluate_command(folder), tasks, can_resume=has_checkpoint(folder)
        ),
    }


def _manifest(folder: RunFolder) -> Manifest:
    try:
        return Manifest.load(folder)
    except (ValueError, TypeError) as error:
        raise RunError(f"{folder / 'run.json'} is not the record of a run: {error}") from error


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    facts = [
        ("Base model", manifest.base_model),
        ("Method", manifest.method),
        ("Begun", manifest.created_at.replace("T", " ").replace("+00:00", " UTC")),
        ("Training time", format_seconds(manifest.seconds)),
    ]
    if manifest.result is not None:
        facts.append(("Result", f"{manifest.result} weights, step {manifest.result_step} of {manifest.total_steps}"))
    trained = manifest.summary.get("trained_parameters")
    if isinstance(trained, int):
        facts.append(("Parameters trained", format_count(trained)))
    return facts


def _typed(folder: RunFolder) -> str:
    """What a reader of the page, who may be anywhere, types for a run: its name where that is enough, below a folder `runs`."""
    return folder.name if folder.path.absolute().parent.name == "runs" else shlex.quote(str(folder.path))


def _evaluate_command(folder: RunFolder) -> str:
    """With a task to fill in where the recipe names none."""
    path = folder / "recipe.resolved.yaml"
    recipe = read_yaml(path.read_text(encoding="utf-8")).data if path.is_file() else None
    has_tasks = isinstance(recipe, dict) and bool((recipe.get("evaluate") or {}).get("tasks"))
    return f"luthier evaluate {_typed(folder)}{'' if has_tasks else ' --task my_task.yaml'}"


def next_commands(
    manifest: Manifest, run: str, evaluate: str, tasks: Sequence[TaskView], *, can_resume: bool
) -> list[tuple[str, str]]:
    """What to type next (command, what it does), by the state of the run.

    Args:
        manifest: State of the run.
        run: As it is typed.
        evaluate: Command that measures it.
        tasks: Measured so far.
        can_resume: Whether there is a checkpoint.
    """
    every_run = ("luthier runs", "list all runs")
    if manifest.status == "running":
        return [(f"luthier watch {run}", "follow it"), (f"luthier stop {run}", "let it save and end"), every_run]
    if manifest.status != "finished":
        cause = ", once the cause is removed" if manifest.status == "failed" else ""
        if can_resume:
            return [(f"luthier train --resume {run}", f"continue after the last checkpoint{cause}"), every_run]
        return [
            ("luthier train recipe.yaml --overwrite", f"begin anew; nothing was saved to go on from{cause}"),
            every_run,
        ]
    measure = (evaluate, "measure it again" if tasks else "compare it with its base model")
    talk = (f"luthier chat {run}", "talk to it, and to its base model, side by side")
    return [
        *([talk, measure] if tasks else [measure, talk]),
        (f"luthier compare {run} OTHER-RUN", "see what differs in recipe, data, curves and scores"),
        (f"luthier report {run}", "write this page again, after more evaluations"),
        ("luthier runs", "list all runs with their verdicts"),
        (
            "luthier train recipes/sft_lora.yaml data.train=my_chats.jsonl run.name=my-first-run",
            "train on data of your own",
        ),
    ]
