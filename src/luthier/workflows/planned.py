"""The plan of a training that is being set up: from its real inputs and its largest micro-batch, not from estimates."""

from __future__ import annotations

from typing import Any

from luthier.config.adapter import LoraSection
from luthier.data.batch import Batch
from luthier.errors import ModelError
from luthier.plan.engine import ours_on
from luthier.plan.job import Job
from luthier.plan.memory import MemoryPlan, plan_memory
from luthier.plan.policy import CheckpointPolicy
from luthier.plan.shapes import read_shape
from luthier.workflows.assemble import Inputs


def planned_job(inputs: Inputs, largest: Batch) -> Job:
    """The job of a run whose largest micro-batch is known.

    Raises:
        ModelError: The model's family is none that the planner knows.
    """
    recipe = inputs.recipe
    shape = read_shape(inputs.model_config.to_dict(), recipe.model.name)
    lora = recipe.adapter if isinstance(recipe.adapter, LoraSection) else None
    tokens = largest.num_tokens
    step_tokens = recipe.train.batch_size * float(inputs.data.train.lengths.mean()) / inputs.ranks.world_size
    return Job(
        shape=shape,
        parameters="lora" if lora else "full",
        micro_batch_tokens=tokens,
        context=largest.longest_row_tokens,
        num_micro_batches=2 if step_tokens > tokens else 1,
        supervised_share=largest.num_targets / tokens,
        rank=lora.rank if lora else 16,
        targets=lora.target_modules if lora else "all-linear",
        compute=inputs.placement.compute,
        attention="eager" if shape.softcap or recipe.model.attention == "eager" else "fused",
        policy=CheckpointPolicy.recompute_all(shape.num_layers) if recipe.train.gradient_checkpointing else None,
    )


def planned_memory(inputs: Inputs, largest: Batch) -> MemoryPlan | None:
    """Memory of that job on the run's device; None where the planner does not know the model's family."""
    try:
        job = planned_job(inputs, largest)
    except ModelError:
        return None
    kind: Any = inputs.placement.device.type
    return plan_memory(job, ours_on(kind))
