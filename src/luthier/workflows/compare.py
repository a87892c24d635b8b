"""`luthier compare`: runs side by side. What differs in recipe and data, how they learnt, and which answers better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier import __version__
from luthier.config.yaml_source import read_yaml
from luthier.errors import InputError, RunError
from luthier.evaluation.compare import Comparison, compare
from luthier.evaluation.recorded import recorded_tasks
from luthier.evaluation.statistics.seeds import seed_spread
from luthier.pages.compare import write_comparison
from luthier.runs.compare import Difference, data_differences, differing_leaves
from luthier.runs.curves import Curves
from luthier.runs.figures import read_figures
from luthier.runs.folder import RunFolder


@dataclass(frozen=True)
class ComparedRun:
    """One run in figures.

    Attributes:
        train_loss: Of the last step.
        validation_loss: Of the result where the run is finished, else the last one measured.
        best_validation_loss: The least one measured after step 0.
        tokens_per_second: Mean over the steps.
    """

    name: str
    path: Path
    status: str
    verdict: str | None
    base_model: str
    method: str
    step: int
    total_steps: int
    seconds: float
    train_loss: float | None
    validation_loss: float | None
    best_validation_loss: float | None
    tokens_per_second: float | None
    curves: Curves

    def to_json(self) -> dict[str, Any]:
        """For ``--json``; curves as [step, loss]."""
        values = {key: value for key, value in self.__dict__.items() if key not in ("path", "curves")}
        curves = {"train": self.curves.train, "validation": self.curves.validation}
        return {**values, "path": str(self.path), "curves": curves}


@dataclass(frozen=True)
class TaskComparison:
    """Tuned model of a later run against that of the first, on the rows of a task that both answered.

    Attributes:
        num_unshared: Rows that only one of them answered; they are left out.
    """

    task: str
    metric: str
    comparison: Comparison
    num_unshared: int

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "task": self.task,
            "metric": self.metric,
            "num_unshared": self.num_unshared,
            **self.comparison.to_json(),
        }


@dataclass(frozen=True)
class RunComparison:
    """Everything that was found; `page` holds it for the browser."""

    runs: tuple[ComparedRun, ...]
    recipe: tuple[Difference, ...]
    data: tuple[Difference, ...]
    tasks: tuple[TaskComparison, ...]
    notes: tuple[str, ...]
    page: Path

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "runs": [run.to_json() for run in self.runs],
            "recipe": {row.name: list(row.values) for row in self.recipe},
            "data": {row.name: list(row.values) for row in self.data},
            "tasks": [task.to_json() for task in self.tasks],
            "notes": list(self.notes),
            "page": str(self.page),
        }


def contenders_of(run: Path) -> list[str]:
    """Who else answered in the evaluations of a run (base, few_shot, a GGUF file, an endpoint): its tuned model aside."""
    folder = RunFolder.open(run)
    lines = (line for task in recorded_tasks(folder) for line in folder.read_lines(f"evaluation/{task}/rows.jsonl"))
    return [name for name in dict.fromkeys(str(line["contender"]) for line in lines) if name != "tuned"]


def compare_runs(
    paths: Sequence[Path], page_folder: Path | None = None, *, contenders: Sequence[str] = ()
) -> RunComparison:
    """Compare two or more runs; the first is the one that the others are held against.

    Args:
        paths: Their folders.
        contenders: Of the first run's evaluations, held against its tuned model like runs; one run is enough then.
        page_folder: Where ``compare-<names>.html`` is written; None for the folder that holds the first run.

    Raises:
        InputError: Fewer than two runs, or one given twice, or no such contender.
        RunError: There is no such run, or its files cannot be read.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError("A run was named twice; name different ones.")
    if not paths or len(paths) + len(contenders) < 2:
        raise InputError("A comparison needs at least two runs: luthier compare FIRST SECOND")
    folders = [RunFolder.open(path) for path in paths]
    runs = _with_different_names([_figures(folder) for folder in folders])
    recipe = tuple(differing_leaves([_recipe(folder) for folder in folders]))
    data = tuple(data_differences([folder.read_json("data.json") for folder in folders]))
    names = [run.name for run in runs]
    tasks, notes = _tasks(folders, names) if runs[1:] else ([], [])
    tasks += _against_contenders(folders[0], runs[0].name, contenders)
    notes = [*_loss_notes(runs, recipe, data), *notes, *_seed_notes(folders, recipe)]
    page = (page_folder or folders[0].path.parent) / f"compare-{'-'.join([*names, *contenders]).replace('/', '-')}.html"
    write_comparison(
        page,
        names=names,
        figures=figure_rows(runs),
        curves=[run.curves for run in runs],
        recipe=recipe,
        data=data,
        scores=[(f"{task.task} ({task.metric.replace('_', ' ')})", task.comparison) for task in tasks],
        notes=notes,
        version=__version__,
    )
    return RunComparison(runs, recipe, data, tuple(tasks), tuple(notes), page)


def figure_rows(runs: Sequence[ComparedRun]) -> list[tuple[str, tuple[str, ...]]]:
    """(figure, its value for each run) in words."""

    def loss(value: float | None) -> str:
        return "–" if value is None else f"{value:.4f}"

    return [
        ("Verdict", tuple(run.verdict or run.status for run in runs)),
        ("Steps", tuple(f"{run.step}/{run.total_steps}" for run in runs)),
        ("Training loss", tuple(loss(run.train_loss) for run in runs)),
        ("Validation loss", tuple(loss(run.validation_loss) for run in runs)),
        ("Best validation loss", tuple(loss(run.best_validation_loss) for run in runs)),
        (
            "Tokens per second",
            tuple("–" if run.tokens_per_second is None else f"{run.tokens_per_second:,.0f}" for run in runs),
        ),
    ]


def _with_different_names(runs: Sequence[ComparedRun]) -> tuple[ComparedRun, ...]:
    """Runs of one name in different folders are called by both."""
    names = [run.name for run in runs]
    changed = [{"name": f"{r.path.absolute().parent.name}/{r.name}"} if names.count(r.name) > 1 else {} for r in runs]
    return tuple(ComparedRun(**{**run.__dict__, **change}) for run, change in zip(runs, changed, strict=True))


def _figures(folder: RunFolder) -> ComparedRun:
    figures = read_figures(folder)
    manifest, curves = figures.manifest, figures.curves
    speeds = [r for r in folder.read_lines("metrics.jsonl") if r.get("tokens") and r.get("kind") == "train"]
    seconds = sum(r["seconds"] for r in speeds)
    return ComparedRun(
        name=folder.name,
        path=folder.path,
        status=manifest.status,
        verdict=manifest.verdict,
        base_model=manifest.base_model,
        method=manifest.method,
        step=figures.step,
        total_steps=manifest.total_steps,
        seconds=manifest.seconds,
        train_loss=figures.train_loss,
        validation_loss=figures.validation_loss,
        best_validation_loss=min((loss for step, loss in curves.validation if step), default=None),
        tokens_per_second=sum(r["tokens"] for r in speeds) / seconds if seconds else None,
        curves=curves,
    )


def _recipe(folder: RunFolder) -> Mapping[str, Any]:
    path = folder / "recipe.resolved.yaml"
    source = read_yaml(path.read_text(encoding="utf-8")) if path.is_file() else None
    if source is None or not isinstance(source.data, Mapping):
        raise RunError(f"{path} is missing or damaged, so it is not known what {folder.name} was trained with.")
    return source.data


def _loss_notes(runs: Sequence[ComparedRun], recipe: Sequence[Difference], data: Sequence[Difference]) -> list[str]:
    notes: list[str] = []
    if any(row.name == "fingerprint" for row in data):
        notes.append("The runs learnt from different tokens; their losses are not measured on the same rows.")
    if any(row.name == "model.name" for row in recipe):
        notes.append("The runs start from different models; losses compare only where the tokenizer is the same.")
    unfinished = [run.name for run in runs if run.status != "finished"]
    if unfinished:
        notes.append(f"Not finished: {', '.join(unfinished)}.")
    return notes


def _tasks(folders: Sequence[RunFolder], names: Sequence[str]) -> tuple[list[TaskComparison], list[str]]:
    """Paired scores against the first run, and why there are none where there are none."""
    evaluated = [{p.parent.name for p in (folder / "evaluation").glob("*/summary.json")} for folder in folders]
    found: list[TaskComparison] = []
    notes: list[str] = []
    for folder, name, tasks in zip(folders[1:], names[1:], evaluated[1:], strict=True):
        for task in sorted(evaluated[0] & tasks):
            first, second = _tuned_rows(folders[0], task), _tuned_rows(folder, task)
            shared = [key for key in first if key in second]
            num_unshared = len(first.keys() ^ second.keys())
            if not shared:
                notes.append(f"{names[0]} and {name} were both evaluated on {task}, but on different rows.")
                continue
            if num_unshared:
                notes.append(f"{task}: {num_unshared} rows that only one of {names[0]} and {name} has are left out.")
            pairs = [(second[key], first[key]) for key in shared]
            found.append(_compared(folders[0], task, pairs, (name, names[0]), num_unshared))
    if not any(evaluated[0] & tasks for tasks in evaluated[1:]):
        notes.append("No task was evaluated for the first run and another, so there are no scores to compare.")
    return found, notes


def _compared(
    folder: RunFolder,
    task: str,
    pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    names: tuple[str, str],
    num_unshared: int,
) -> TaskComparison:
    """First minus second of each pair of lines, as the folder's summary of the task says that scores are to be read."""
    summary = folder.read_json(f"evaluation/{task}/summary.json")
    weights = [float(second.get("weight", 1.0)) for _, second in pairs]
    result = compare(
        [float(first["score"]) for first, _ in pairs],
        [float(second["score"]) for _, second in pairs],
        names=names,
        weights=None if all(weight == 1.0 for weight in weights) else weights,
        lower_is_better=summary.get("lower_is_better", False),
        is_share=summary.get("is_share", True),
    )
    return TaskComparison(task, summary["metric"], result, num_unshared)


def _against_contenders(folder: RunFolder, run: str, contenders: Sequence[str]) -> list[TaskComparison]:
    """Contenders of one run's evaluations against its tuned model, on every task that they answered."""
    found: list[TaskComparison] = []
    for contender in contenders:
        for task in recorded_tasks(folder):
            theirs, ours = (_rows_of(folder, task, name) for name in (contender, "tuned"))
            shared = [key for key in ours if key in theirs]
            if shared:
                pairs = [(theirs[key], ours[key]) for key in shared]
                found.append(_compared(folder, task, pairs, (contender, run), len(ours.keys() ^ theirs.keys())))
    return found


def _tuned_rows(folder: RunFolder, task: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    return _rows_of(folder, task, "tuned")


def _rows_of(folder: RunFolder, task: str, contender: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    """A contender's line for each row, by what makes it the same row: id, question, reference."""
    return {
        (str(row["id"]), str(row["question"]), str(row["reference"])): row
        for row in folder.read_lines(f"evaluation/{task}/rows.jsonl")
        if row["contender"] == contender
    }


def _seed_notes(folders: Sequence[RunFolder], recipe: Sequence[Difference]) -> list[str]:
    """How far the scores lie apart, where the runs differ in the seed alone."""
    if [row.name for row in recipe] != ["train.seed"]:
        return []
    tasks = [{p.parent.name for p in (folder / "evaluation").glob("*/summary.json")} for folder in folders]
    notes: list[str] = []
    for task in sorted(set.intersection(*tasks)):
        summaries = [folder.read_json(f"evaluation/{task}/summary.json") for folder in folders]
        if len({s["num_rows"] for s in summaries}) == 1 and all(s.get("is_share", True) for s in summaries):
            scores = [float(s["contenders"]["tuned"][s["metric"]]) for s in summaries]
            notes.append(f"{task}, which differs by the seed alone: {seed_spread(scores).sentence()}")
    return notes
