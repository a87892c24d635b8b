"""After the last step: take the best weights, save them, read them back, see whether the model stops, say what is proven."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from luthier.checks import result as result_checks
from luthier.checks.training import frozen_unchanged, loss_fell
from luthier.models.load import ModelSource, load_tokenizer
from luthier.models.result import result_kind, save_result
from luthier.reporter import Reporter
from luthier.runs.folder import RunFolder
from luthier.training.checkpoint import CheckpointStore
from luthier.training.loop import Trainee
from luthier.types import Check
from luthier.workflows.assemble import BuiltModel, Inputs
from luthier.workflows.before_training import (
    BaseAnswers,
    generate_with_progress,
    make_engine,
    sample_conversations,
    split_last_answer,
)
from luthier.workflows.build_objective import rows_needed
from luthier.workflows.overfitting import RowLosses, judge_overfitting, record_overfitting, row_losses
from luthier.workflows.recording import record_checks

SERVING_CONVERSATIONS = 10


@dataclass(frozen=True)
class Finished:
    """What the training left behind."""

    folder: Path
    which: Literal["best", "last"]
    step: int
    train_loss: float | None
    validation_loss: float | None
    summary: dict[str, Any]


def finish(
    folder: RunFolder,
    inputs: Inputs,
    built: BuiltModel,
    trainee: Trainee,
    store: CheckpointStore,
    base_answers: BaseAnswers,
    base_fingerprint: str,
    reporter: Reporter,
) -> Finished:
    """Save the result (the best weights by the recipe's criterion, else the last) and check it."""
    reporter.stage("Save and verify the result")
    last, best = store.last, store.best
    assert last is not None
    chosen = best or last
    if chosen.step != last.step:
        last_losses = row_losses(trainee, built)
        store.restore(chosen, trainee.optimizer, rng=False)
        _compare_with_last(folder, trainee, built, chosen.step, last_losses, reporter)
    kind = result_kind(built.model)
    target = folder / kind
    save_result(built.model, inputs.tokenizer, target, base_name=inputs.recipe.model.name)
    inputs.contract.save(target)
    reporter.say(f"The result holds the weights of step {chosen.step} ({'best' if best else 'last'}).")

    losses = {r["step"]: r["loss"] for r in folder.read_lines("metrics.jsonl") if r["kind"] == "validation"}
    steps = [r["loss"] for r in folder.read_lines("metrics.jsonl") if r["kind"] == "train"]
    checks: list[Check | None] = [
        result_checks.saved_equals_live(built.model, target),
        loss_fell(losses.get(0), chosen.loss, trainee.objective.unit),
    ]
    if not inputs.recipe.is_full:
        checks.append(frozen_unchanged(base_fingerprint, built.model))
    conversations = sample_conversations(inputs, SERVING_CONVERSATIONS)
    if conversations:
        saved_tokenizer = load_tokenizer(ModelSource(target.name, str(target), None))
        checks.append(result_checks.serving_equals_training(inputs.template, target, saved_tokenizer, conversations))
    record_checks(folder, reporter, [c for c in checks if c is not None])
    summary = _stop_test(folder, inputs, built, base_answers, chosen.step, reporter)
    if terms := _held_out_terms(folder, chosen.step):
        summary["held_out"] = terms
        if "reward_accuracy" in terms:
            share = 100 * terms["reward_accuracy"]
            reporter.say(f"On held-out rows the better answer has the higher reward in {share:.1f} % of the cases.")
    return Finished(target, "best" if best else "last", chosen.step, steps[-1] if steps else None, chosen.loss, summary)


def _held_out_terms(folder: RunFolder, step: int) -> dict[str, float]:
    """What the objective measured beside its loss on the validation rows (rewards, accuracy), of the weights that were kept."""
    records = [r for r in folder.read_lines("metrics.jsonl") if r["kind"] == "validation" and r["step"] == step]
    return dict(records[-1].get("terms", {})) if records else {}


def _compare_with_last(
    folder: RunFolder,
    trainee: Trainee,
    built: BuiltModel,
    best_step: int,
    last: RowLosses | None,
    reporter: Reporter,
) -> None:
    """Whether the last checkpoint is worse than the best, whose weights are in memory now; written down and said."""
    best = row_losses(trainee, built)
    if best is None or last is None:
        return
    records = list(folder.read_lines("metrics.jsonl"))
    found = judge_overfitting(records, best_step, best, last, trainee.objective.unit)
    if found is not None:
        if trainee.ranks.is_main:
            record_overfitting(folder, found)
        reporter.say(found.sentence(), "warning" if found.is_shown else "info")


def _stop_test(
    folder: RunFolder, inputs: Inputs, built: BuiltModel, base: BaseAnswers, step: int, reporter: Reporter
) -> dict[str, Any]:
    """Answer the same prompts as the untrained model did, and write both down side by side."""
    if not base.rows:
        return {}
    reporter.stage("Answers of the tuned model")
    tuned = generate_with_progress(make_engine(inputs, built), base.requests, reporter, "tuned answers")
    imitates = rows_needed(inputs.recipe.objective) == "conversations"
    stops = result_checks.tuned_model_stops if imitates else result_checks.still_stops
    record_checks(folder, reporter, [stops(base.answers, tuned)])
    for row, request, before, after in zip(base.rows, base.requests, base.answers, tuned, strict=True):
        folder.append_line(
            "samples.jsonl",
            {
                "step": step,
                "prompt": inputs.tokenizer.decode(list(request.prompt_ids)),
                "reference": split_last_answer(row)[1],
                "base": inputs.template.decode(before.token_ids),
                "tuned": inputs.template.decode(after.token_ids),
                "base_finish": before.finish_reason,
                "tuned_finish": after.finish_reason,
            },
        )
    return {"stop_share": {"base": result_checks.stop_share(base.answers), "tuned": result_checks.stop_share(tuned)}}
