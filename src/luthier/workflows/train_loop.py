"""The training loop in its run folder: where it begins, who is told what, and why it ended."""

from __future__ import annotations

from typing import NamedTuple

from luthier.checks.training import FirstSteps
from luthier.reporter import Reporter
from luthier.runs.compare import leaves
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest
from luthier.training.checkpoint import CheckpointStore, refuse_mismatch
from luthier.training.early_stopping import num_without_improvement
from luthier.training.interrupt import stop_on_signal
from luthier.training.loop import LoopResult, Trainee, run_loop
from luthier.training.step import Validation, validate, validation_record
from luthier.training.step_down import with_smaller_steps
from luthier.training.trackers import TrackedRun, open_trackers
from luthier.units import format_seconds
from luthier.workflows.assemble import Inputs, rhythm
from luthier.workflows.before_training import BaseAnswers
from luthier.workflows.recording import Recorder, forget_after
from luthier.workflows.sample_answers import SampleAnswers
from luthier.workflows.watch_curves import CurveWatch
from luthier.workflows.watch_tasks import TaskWatch


class Start(NamedTuple):
    """Where the loop begins: steps made, seconds they took, what was measured and decided at validations."""

    step: int = 0
    seconds: float = 0.0
    losses: tuple[float, ...] = ()
    criteria: tuple[float, ...] = ()
    wants_stop: bool = False


def restore(folder: RunFolder, store: CheckpointStore, trainee: Trainee, reporter: Reporter) -> Start:
    """Bring everything back to the last checkpoint; what was written after it is forgotten.

    Raises:
        RunError: The run would be another one, or the checkpoint is damaged.
    """
    last = store.last
    assert last is not None
    refuse_mismatch(store.read_position(last).fingerprints, trainee.fingerprints)
    position = store.restore(last, trainee.optimizer, rng=True)
    trainee.loss_scale.scale, trainee.loss_scale.good_steps = position.loss_scale, position.loss_scale_good_steps
    if trainee.ranks.is_main:
        forget_after(folder, position.step)
    reporter.say(f"Continuing after step {position.step}.")
    return Start(position.step, position.seconds, position.validation_losses, position.criteria, position.wants_stop)


def first_validation(
    folder: RunFolder,
    trainee: Trainee,
    samples: SampleAnswers,
    tasks: TaskWatch,
    base_answers: BaseAnswers,
    reporter: Reporter,
) -> None:
    """Loss, sample answers and scores of the untrained model: what the result is held against."""
    if not len(trainee.feed.validation):
        return

    def measure() -> Validation:
        return validate(
            trainee.model,
            trainee.objective,
            trainee.feed.validation_batches(),
            placement=trainee.placement,
            ranks=trainee.ranks,
        )

    found = with_smaller_steps(trainee, measure)
    if trainee.ranks.is_main:
        tokens = sum(b.num_tokens for b in trainee.feed.validation_batches())
        greedy = zip(base_answers.requests, base_answers.answers, strict=True)
        seconds = samples.take_untrained({r.prompt_ids: answer for r, answer in greedy if r.temperature == 0})
        record = {**validation_record(0, found, tokens), "sample_seconds": seconds}
        folder.append_line("metrics.jsonl", {**record, **tasks.measure(0).to_json()})
    reporter.say(f"Validation loss before training: {found.loss:.4f}.")


def train_in_folder(
    folder: RunFolder,
    manifest: Manifest,
    inputs: Inputs,
    trainee: Trainee,
    store: CheckpointStore,
    samples: SampleAnswers,
    tasks: TaskWatch,
    reporter: Reporter,
    start: Start,
) -> LoopResult:
    """Run the loop with its sinks, its observer and its signal handler, and write into run.json how it ended."""
    reporter.stage("Train")
    first_steps = FirstSteps(trainee.optimizer, inputs.total_steps) if start.step == 0 else None
    tracked = TrackedRun(
        name=manifest.name,
        id=f"{manifest.name}-{''.join(c for c in manifest.created_at[:19] if c.isdigit())}",
        folder=folder.path,
        settings=leaves(inputs.recipe.model_dump(mode="json")),
        start_step=start.step,
    )
    watch = CurveWatch(
        folder,
        reporter,
        total_steps=inputs.total_steps,
        max_grad_norm=inputs.recipe.train.max_grad_norm,
        records=folder.read_lines("metrics.jsonl"),
    )
    is_main = inputs.ranks.is_main
    sinks = inputs.recipe.run.sinks if is_main else ()
    with open_trackers(sinks, tracked, reporter) as trackers, stop_on_signal() as stop:
        recorder = Recorder(
            folder, manifest, reporter, first_steps, is_main, trackers, watch, samples.answer, tasks.measure
        )
        try:
            loop = run_loop(
                trainee,
                rhythm(inputs),
                store,
                recorder,
                stop,
                start_step=start.step,
                start_seconds=start.seconds,
                start_losses=start.losses,
                start_criteria=start.criteria,
                wants_stop=start.wants_stop,
            )
        finally:  # a training that breaks down needs its diagnosis most
            if is_main:
                watch.look()
    manifest.step, manifest.seconds = loop.step, loop.seconds
    if loop.stopped_by is None and loop.step < inputs.total_steps:
        manifest.summary["stopped_early"] = _why_early(loop, inputs.total_steps, inputs.recipe.evaluate.best_by)
        reporter.say(manifest.summary["stopped_early"])
    if is_main:
        manifest.save(folder)
    reporter.say(f"{loop.step} steps in {format_seconds(loop.seconds)}.{_sampling_words(folder)}")
    return loop


def _why_early(loop: LoopResult, total_steps: int, best_by: str) -> str:
    where = f"Stopped early after step {loop.step} of {total_steps}"
    if loop.wanted_stop:
        return (
            f"{where}: the general suite shows a loss of more than evaluate.forgetting_tolerance "
            "(evaluate.stop_when_forgotten)."
        )
    since = num_without_improvement(loop.criteria)
    times = "the last validation" if since == 1 else f"the last {since} validations"
    what = f"loss below {min(loop.validation_losses):.4f}" if best_by == "loss" else f"better {best_by}"
    return f"{where}: {times} brought no {what} (train.early_stopping_patience)."


def _sampling_words(folder: RunFolder) -> str:
    """What the sample answers and the tasks that are watched cost."""
    records = list(folder.read_lines("metrics.jsonl"))
    words = ""
    for what, name in (("Sample answers", "sample_seconds"), ("Tasks", "task_seconds")):
        if seconds := [r[name] for r in records if r.get(name)]:
            words += f" {what} at {len(seconds)} validations took {format_seconds(sum(seconds))}."
    return words
