"""The plan of a training that is being set up: from its real inputs and its largest micro-batch, and later against what it took.

`plan.json` in the run folder holds it. On a CPU the whole process is measured, and with it what it held before the model came.
"""

from __future__ import annotations

from typing import Any

from luthier.config.adapter import LoraSection
from luthier.data.batch import Batch
from luthier.errors import ModelError
from luthier.plan.adapted import adapted_names
from luthier.plan.engine import ours_on
from luthier.plan.job import Job
from luthier.plan.memory import MOMENTS, MemoryPlan, plan_memory
from luthier.plan.policy import CheckpointPolicy
from luthier.plan.shapes import read_shape
from luthier.reporter import Reporter
from luthier.runs.folder import RunFolder
from luthier.training.memory import resident_bytes
from luthier.units import format_bytes
from luthier.workflows.assemble import Inputs
from luthier.workflows.plan import generation_rows, objective_to_plan


def planned_job(inputs: Inputs, largest: Batch, policy: CheckpointPolicy) -> Job:
    """The job of a run whose largest micro-batch is known.

    Raises:
        ModelError: The model's family is none that the planner knows.
    """
    tokens = largest.num_tokens
    return _job(inputs, tokens, largest.longest_row_tokens, largest.num_targets / tokens, policy)


def job_before_packing(inputs: Inputs, budget_tokens: int, policy: CheckpointPolicy) -> Job:
    """The job of a run whose rows are known and not yet packed: each micro-batch is as full as it can be.

    Raises:
        ModelError: The model's family is none that the planner knows.
    """
    lengths = inputs.data.train.lengths
    longest = int(lengths.max())
    step_tokens = inputs.recipe.train.batch_size * float(lengths.mean()) / inputs.ranks.world_size
    tokens = max(longest, min(budget_tokens, int(step_tokens) + 1))
    rows = inputs.data.report.train
    supervised = rows.num_supervised_tokens / max(1, rows.num_tokens)
    return _job(inputs, tokens, longest, supervised, policy)


def _job(inputs: Inputs, tokens: int, longest_row: int, supervised_share: float, policy: CheckpointPolicy) -> Job:
    recipe = inputs.recipe
    shape = read_shape(inputs.model_config.to_dict(), recipe.model.name)
    lora = recipe.adapter if isinstance(recipe.adapter, LoraSection) else None
    step_tokens = recipe.train.batch_size * float(inputs.data.train.lengths.mean()) / inputs.ranks.world_size
    return Job(
        shape=shape,
        parameters="full" if recipe.is_full else "qlora" if recipe.precision.base == "nf4" else "lora",
        objective=objective_to_plan(recipe),
        micro_batch_tokens=tokens,
        context=longest_row,
        num_micro_batches=2 if step_tokens > tokens else 1,
        supervised_share=supervised_share,
        rank=lora.rank if lora else 16,
        targets=adapted_names(lora.target_modules if lora else "all-linear", shape),
        compute=inputs.placement.compute,
        attention="eager" if shape.softcap or recipe.model.attention == "eager" else "fused",
        optimizer=recipe.train.optimizer,
        policy=policy,
        generation_rows=generation_rows(recipe),
        generation_tokens=longest_row + recipe.evaluate.max_new_tokens,
    )


def planned_memory(inputs: Inputs, largest: Batch, policy: CheckpointPolicy) -> MemoryPlan | None:
    """Memory of that job on the run's device; None where the planner does not know the model's family."""
    try:
        job = planned_job(inputs, largest, policy)
    except ModelError:
        return None
    kind: Any = inputs.placement.device.type
    return plan_memory(job, ours_on(kind))


def bytes_before_model(inputs: Inputs) -> int:
    """What counts as used before the model is there: on a CPU the process's resident set, on a card nothing."""
    return resident_bytes() if inputs.placement.device.type == "cpu" else 0


def write_plan(
    folder: RunFolder,
    inputs: Inputs,
    largest: Batch,
    policy: CheckpointPolicy,
    before_bytes: int,
    reporter: Reporter,
) -> None:
    """Plan the run's memory, say it, and keep it in plan.json; a model that the planner does not know has no plan."""
    plan = planned_memory(inputs, largest, policy)
    if plan is None:
        reporter.say(f"No memory plan: the planner does not know the family of {inputs.recipe.model.name}.")
        return
    if inputs.ranks.is_main:
        folder.write_json(
            "plan.json",
            {
                "total_bytes": before_bytes + plan.total_bytes,
                "low_bytes": before_bytes + plan.low_bytes,
                "high_bytes": before_bytes + plan.high_bytes,
                "before_model_bytes": before_bytes,
                "peak": MOMENTS[plan.moment],
                "terms": [term._asdict() for term in plan.terms],
            },
        )
    before = f", of which {format_bytes(before_bytes)} is the program itself" if before_bytes else ""
    low, high = format_bytes(before_bytes + plan.low_bytes), format_bytes(before_bytes + plan.high_bytes)
    reporter.say(f"Planned peak memory: {format_bytes(before_bytes + plan.total_bytes)} ({low} to {high}){before}.")


def planned_against_measured(folder: RunFolder) -> str | None:
    """One sentence; None where there is no plan or nothing was measured."""
    plan = folder.read_json("plan.json")
    used = [r["memory_bytes"] for r in folder.read_lines("metrics.jsonl") if r.get("memory_bytes") is not None]
    if plan is None or not used:
        return None
    planned, measured = plan["total_bytes"], max(used)
    share = 100 * (planned / measured - 1)
    return f"Peak memory: planned {format_bytes(planned)}, measured {format_bytes(measured)} ({share:+.0f} %)."
