"""`luthier train`: recipe in, verified result out. The order is: inputs, data checks, model, preflight, loop, result, verdict.

Cheap steps come first, and nothing is written before the data are known to be usable: a run that could not begin leaves
no folder.
"""

from __future__ import annotations

import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from luthier import __version__
from luthier.checks.training import frozen_fingerprint
from luthier.config import Recipe
from luthier.config.load import LoadedRecipe, dump_resolved, load_recipe, resolve
from luthier.data.token_view import TokenRow, view_rows
from luthier.errors import Interrupted, RunError
from luthier.models.adapters import describe_training, trained_parameters
from luthier.reporter import Reporter, Silent
from luthier.runs.claim import claim, refuse_running, refuse_taken_name
from luthier.runs.environment import describe_environment
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest, now
from luthier.training.checkpoint import CheckpointStore
from luthier.training.diagnosis import Diagnosis
from luthier.training.interrupt import undisturbed
from luthier.training.loop import LoopResult, Trainee
from luthier.training.trackers import require_sinks
from luthier.types import Check
from luthier.units import format_count
from luthier.workflows.assemble import BuiltModel, Inputs, build_model, build_trainee, read_inputs
from luthier.workflows.before_training import BaseAnswers, check_data, preflight, stop_test_answers
from luthier.workflows.check_recipe import require_inputs
from luthier.workflows.evaluate import EvaluationResult, evaluate
from luthier.workflows.finish import finish
from luthier.workflows.fitting import fit
from luthier.workflows.general_suite import tasks_after_training
from luthier.workflows.parametrise import name_of_parametrisation, notes_on_parametrisation
from luthier.workflows.planned import bytes_before_model, planned_against_measured
from luthier.workflows.recording import LoggedReporter, record_checks, stop_if_failed
from luthier.workflows.sample_answers import SampleAnswers
from luthier.workflows.train_loop import Start, first_validation, restore, train_in_folder
from luthier.workflows.watch_curves import read_diagnosis
from luthier.workflows.watch_tasks import TaskWatch, refuse_unvalidated

TOKEN_VIEW_ROWS = 5


@dataclass(frozen=True)
class TrainResult:
    """A finished training.

    Attributes:
        run: The run folder.
        verdict: verified when every check passed, else unverified.
        seconds: Wall time of the whole command.
        steps: Optimiser steps done.
        train_loss: Of the last step, nats per trained token.
        validation_loss: Of the result; None without validation rows.
        result: Folder with the adapter or model.
        result_step: Step whose weights the result holds.
        report: The page for people.
        checks: All checks of the run.
        evaluation: Results of the recipe's tasks and of the general suite; None where there were none.
        stopped_early: Why the training ended before its last step; None where it did not.
        diagnosis: What the curves show.
    """

    run: Path
    verdict: str
    seconds: float
    steps: int
    train_loss: float | None
    validation_loss: float | None
    result: Path
    result_step: int
    report: Path
    checks: list[Check] = field(default_factory=list[Check])
    evaluation: EvaluationResult | None = None
    stopped_early: str | None = None
    diagnosis: list[Diagnosis] = field(default_factory=list[Diagnosis])

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        failed = [c.name for c in self.checks if not c.passed]
        evaluation = {"evaluation": self.evaluation.to_json()["tasks"]} if self.evaluation else {}
        return evaluation | {
            "run": str(self.run),
            "verdict": self.verdict,
            "seconds": round(self.seconds, 1),
            "steps": self.steps,
            "train_loss": self.train_loss,
            "validation_loss": self.validation_loss,
            "result": str(self.result),
            "result_step": self.result_step,
            "report": str(self.report),
            "stopped_early": self.stopped_early,
            "diagnosis": [diagnosis.to_json() for diagnosis in self.diagnosis],
            "checks": {"passed": len(self.checks) - len(failed), "failed": len(failed), "failed_names": failed},
        }


def train(recipe: LoadedRecipe, *, overwrite: bool = False, reporter: Reporter | None = None) -> TrainResult:
    """Train by a recipe.

    Args:
        recipe: From `luthier.load_recipe`.
        overwrite: Replace an earlier run of the same name.
        reporter: Told of progress.

    Raises:
        InputError: The recipe, the data or the model cannot be used; no run folder was made.
        CheckFailedError: A check before or during training failed; the folder tells which.
        Interrupted: A signal; the state is saved.
    """
    began = time.perf_counter()
    reporter = reporter or Silent()
    resolved = resolve(recipe)
    path = resolved.run.path
    refuse_taken_name(path, overwrite)
    require_inputs(recipe)
    reporter.stage("Read model config, tokenizer and data")
    inputs = read_inputs(resolved, reporter)
    refuse_unvalidated(inputs)
    data_checks = check_data(inputs)
    folder = RunFolder.create(path, overwrite=overwrite) if inputs.ranks.is_main else RunFolder(path)
    inputs.ranks.barrier()
    _write_inputs(folder, recipe, inputs)
    manifest = _new_manifest(inputs)
    if inputs.ranks.is_main:
        claim(folder)
    manifest.save(folder)
    result = _run(folder, manifest, inputs, data_checks, reporter, resume=False, began=began)
    return _evaluated(result, resolved, reporter)


def resume(run: Path, *, reporter: Reporter | None = None) -> TrainResult:
    """Continue an interrupted run from its last checkpoint; the result is that of an uninterrupted one.

    Raises:
        RunError: There is no such run, it has no checkpoint, it is finished, or recipe, data or model have changed.
    """
    began = time.perf_counter()
    reporter = reporter or Silent()
    folder = RunFolder.open(run)
    refuse_running(folder)
    manifest = Manifest.load(folder)
    store = CheckpointStore(folder / "checkpoints")
    if manifest.status == "finished":
        raise RunError(f"{folder.name} is finished ({manifest.verdict}). Its report: {folder / 'report.html'}")
    last = store.last
    if last is None:
        raise RunError(f"{folder.name} has no checkpoint to continue from. Start it again: luthier train … --overwrite")
    torch.set_num_threads(store.read_position(last).num_threads)
    resolved = resolve(load_recipe(folder / "recipe.resolved.yaml"))
    require_sinks(resolved.run.sinks)
    reporter.stage("Read model config, tokenizer and data")
    inputs = read_inputs(resolved, reporter)
    manifest = manifest.model_copy(update={"status": "running", "error": None})
    if inputs.ranks.is_main:
        claim(folder)
    manifest.save(folder)
    return _evaluated(_run(folder, manifest, inputs, [], reporter, resume=True, began=began), resolved, reporter)


def _evaluated(result: TrainResult, recipe: Recipe, reporter: Reporter) -> TrainResult:
    """Run the recipe's tasks on what was saved, as a later user of the run would load it; a check of theirs may fail the run."""
    folder = RunFolder(result.run)
    tasks = tasks_after_training(folder, recipe)
    if not tasks:
        return result
    try:
        evaluation = evaluate(result.run, tasks=tasks, reporter=reporter)
        verdict = Manifest.load(folder).verdict or result.verdict
        return replace(result, evaluation=evaluation, verdict=verdict, checks=folder.checks())
    except (Interrupted, KeyboardInterrupt) as error:
        number = error.signal_number if isinstance(error, Interrupted) else signal.SIGINT
        words = f"The run is finished ({result.verdict}); only its evaluation was stopped. Measure it with: luthier evaluate"
        raise Interrupted(number, f"{words} {RunFolder(result.run).typed}") from error


def _method(recipe: Recipe) -> str:
    return f"{recipe.objective.name} · {name_of_parametrisation(recipe)}"


def _new_manifest(inputs: Inputs) -> Manifest:
    notes = [*inputs.source.notes, *notes_on_parametrisation(inputs.recipe, inputs.source)]
    if any(path.startswith("demo:") for path in inputs.recipe.data.train):
        notes.append("The data of this run are generated by Luthier's own code.")
    return Manifest(
        name=inputs.recipe.run.name,
        status="running",
        base_model=inputs.recipe.model.name,
        method=_method(inputs.recipe),
        created_at=now(),
        luthier_version=__version__,
        total_steps=inputs.total_steps,
        summary={"notes": notes, "compute": inputs.placement.compute, "device": str(inputs.placement.device)},
    )


def _write_inputs(folder: RunFolder, recipe: LoadedRecipe, inputs: Inputs) -> None:
    if not inputs.ranks.is_main:
        return
    if recipe.path is not None:
        shutil.copyfile(recipe.path, folder / "recipe.yaml")
    folder.write_text("recipe.resolved.yaml", dump_resolved(inputs.recipe, recipe.origins))
    device = inputs.placement.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    folder.write_json("environment.json", {**describe_environment(name), "num_threads": torch.get_num_threads()})
    folder.write_json("data.json", inputs.data.report.to_json())
    folder.write_json("token_view.json", [row.to_json() for row in _token_rows(inputs)])
    inputs.contract.save(folder.path)


def _token_rows(inputs: Inputs) -> list[TokenRow]:
    """Training rows to look at, with the place that each came from."""
    rows = view_rows(inputs.data.train, inputs.tokenizer, TOKEN_VIEW_ROWS)
    return [replace(shown, source=str(inputs.data.items[row].source or "")) for row, shown in rows]


def _run(
    folder: RunFolder,
    manifest: Manifest,
    inputs: Inputs,
    data_checks: list[Check],
    reporter: Reporter,
    *,
    resume: bool,
    began: float,
) -> TrainResult:
    """The part that has a folder: whatever happens in it is written into run.json."""
    logged = LoggedReporter(reporter, folder)
    try:
        record_checks(folder, logged, data_checks)
        stop_if_failed("data", data_checks)
        result = _train_in(folder, manifest, inputs, logged, resume=resume, began=began)
    except (Interrupted, KeyboardInterrupt) as error:
        ended = _interrupted(folder, error)
        if inputs.ranks.is_main:
            with undisturbed():
                _end(folder, "interrupted", str(ended), logged)
        raise ended from error
    except Exception as error:
        if inputs.ranks.is_main:
            with undisturbed():
                _end(folder, "failed", str(error) or type(error).__name__, logged)
        raise
    return result


def _interrupted(folder: RunFolder, error: Interrupted | KeyboardInterrupt) -> Interrupted:
    """What is saved, and how to go on."""
    number = error.signal_number if isinstance(error, Interrupted) else signal.SIGINT
    last = CheckpointStore(folder / "checkpoints").last
    if last is None:
        return Interrupted(
            number, "Stopped before the first checkpoint, so nothing is saved. The same command begins anew."
        )
    words = f"Stopped; the state after step {last.step} of {Manifest.load(folder).total_steps} is saved."
    return Interrupted(number, f"{words} Continue with: luthier train --resume {folder.typed}")


def _end(folder: RunFolder, status: Any, error: str, reporter: Reporter) -> None:
    """Write down how the run ended, with a report of what there is; trouble here must not hide what ended it."""
    try:
        ended = Manifest.load(folder).model_copy(update={"status": status, "error": error, "finished_at": now()})
        ended.save(folder)
        from luthier.pages.report import write_report

        write_report(folder.path)
    except Exception as trouble:  # the caller raises the error that matters
        with suppress(Exception):  # the log may lie on the same full disk
            reporter.say(f"The end of the run could not be written down completely: {trouble}", "warning")


def _train_in(
    folder: RunFolder, manifest: Manifest, inputs: Inputs, reporter: Reporter, *, resume: bool, began: float
) -> TrainResult:
    reporter.stage("Load the model")
    before_bytes = bytes_before_model(inputs)
    fitting = fit(folder, inputs, reporter, resume=resume)
    built = build_model(inputs)
    trained, total = describe_training(built.model)
    reporter.say(
        f"{format_count(trained)} of {format_count(total)} parameters are trained in {inputs.placement.compute} on "
        f"{inputs.placement.device}; attention: {built.route_reason}; speed-ups: {', '.join(built.speedups) or 'none'}."
    )
    manifest.summary |= {"speedups": list(built.speedups), "speedups_left_out": dict(built.left_out)}
    base_fingerprint = frozen_fingerprint(built.model)
    trainee = build_trainee(inputs, built, base_fingerprint, step_down=fitting.step_down, reporter=reporter)
    fitting.hold(built.model, trainee.feed)
    store = CheckpointStore(folder / "checkpoints")
    samples = SampleAnswers(folder, inputs, built, reporter)
    tasks = TaskWatch(folder, inputs, built, reporter)
    if resume:
        start = restore(folder, store, trainee, reporter)
        base_answers = BaseAnswers.load(folder, inputs)
    else:
        start = Start()
        # Dropout: the same on every start, other per rank.
        torch.manual_seed(inputs.recipe.train.seed + inputs.ranks.rank)
        reporter.stage("Preflight")
        checks = preflight(folder, inputs, built, trainee, fitting, reporter, before_bytes=before_bytes)
        stop_if_failed("preflight", checks)
        base_answers = stop_test_answers(inputs, built, reporter)
        base_answers.save(folder)
        first_validation(folder, trainee, samples, tasks, base_answers, reporter)
    loop = train_in_folder(folder, manifest, inputs, trainee, store, samples, tasks, reporter, start)
    if loop.stopped_by is not None:
        raise Interrupted(loop.stopped_by, "Stopped.")
    return _finish(
        folder, manifest, inputs, built, trainee, store, loop, base_answers, base_fingerprint, reporter, began
    )


def _finish(
    folder: RunFolder,
    manifest: Manifest,
    inputs: Inputs,
    built: BuiltModel,
    trainee: Trainee,
    store: CheckpointStore,
    loop: LoopResult,
    base_answers: BaseAnswers,
    base_fingerprint: str,
    reporter: Reporter,
    began: float,
) -> TrainResult:
    done = finish(folder, inputs, built, trainee, store, base_answers, base_fingerprint, reporter)
    checks = folder.checks()
    verdict = "verified" if all(c.passed for c in checks) else "unverified"
    manifest.status, manifest.verdict, manifest.finished_at = "finished", verdict, now()
    manifest.result, manifest.result_step = done.which, done.step
    manifest.summary |= {"train_loss": done.train_loss, "validation_loss": done.validation_loss, **done.summary}
    manifest.summary |= {"trained_parameters": sum(p.numel() for p in trained_parameters(built.model).values())}
    manifest.save(folder)
    if memory := planned_against_measured(folder):
        reporter.say(memory)
    from luthier.pages.report import write_report

    report = write_report(folder.path)
    return TrainResult(
        run=folder.path,
        verdict=verdict,
        seconds=time.perf_counter() - began,
        steps=loop.step,
        train_loss=done.train_loss,
        validation_loss=done.validation_loss,
        result=done.folder,
        result_step=done.step,
        report=report,
        checks=checks,
        stopped_early=manifest.summary.get("stopped_early"),
        diagnosis=read_diagnosis(folder),
    )
