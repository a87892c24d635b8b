"""`luthier plan RECIPE --calibrate`: ten real steps of the recipe, timed on this device, kept in the cache for later plans.

The model is loaded and trained as `luthier train` would; nothing of it is saved. Imports torch.
"""

from __future__ import annotations

import platform
import statistics
import time
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch

from luthier.config.load import LoadedRecipe, resolve
from luthier.data.batch import Batch
from luthier.data.cache import cache_folder
from luthier.plan.calibration import Calibration, keep_calibration
from luthier.plan.engine import ours_on
from luthier.plan.flops import step_flops
from luthier.plan.hardware import find_hardware
from luthier.plan.job import Job
from luthier.plan.memory import plan_memory
from luthier.reporter import Reporter
from luthier.training.memory import peak_memory_bytes
from luthier.training.step import train_step
from luthier.workflows.assemble import Inputs, build_model, build_trainee, policy_asked_for, read_inputs
from luthier.workflows.planned import planned_job

STEPS, WARM_UP_STEPS = 10, 2


@dataclass(frozen=True)
class CalibrationResult:
    """A calibration, where it is kept, and the recipe that was measured."""

    calibration: Calibration
    path: Path
    recipe: str

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self.calibration), "path": str(self.path), "recipe": self.recipe}


def calibrate(loaded: LoadedRecipe, reporter: Reporter) -> CalibrationResult:
    """Train ten steps and keep the rate.

    Raises:
        InputError: The recipe, the data or the model cannot be used.
    """
    recipe = resolve(loaded)
    reporter.stage("Read model config, tokenizer and data")
    inputs = read_inputs(recipe, reporter)
    device = inputs.placement.device
    before = peak_memory_bytes(device) if device.type == "cpu" else 0
    reporter.stage("Load the model")
    built = build_model(inputs)
    trainee = build_trainee(inputs, built, "calibration")
    trainee.model.train()
    planned = planned_job(inputs, trainee.feed.largest_batch(STEPS), policy_asked_for(inputs))
    job = replace(planned, generation_rows=0)  # these steps generate nothing
    reporter.stage(f"{STEPS} steps")
    rates: list[tuple[float, float]] = []
    for step in range(STEPS):
        batches = trainee.feed.step_batches(step)
        began = time.perf_counter()
        train_step(
            trainee.model,
            trainee.objective,
            batches,
            trainee.optimizer,
            learning_rate=1e-6,
            loss_scale=trainee.loss_scale,
            placement=trainee.placement,
            ranks=trainee.ranks,
        )
        seconds = time.perf_counter() - began
        if step >= WARM_UP_STEPS:
            rates.append((sum(_work(job, b) for b in batches) / seconds, sum(b.num_tokens for b in batches) / seconds))
        reporter.progress("calibrate", step + 1, STEPS)
    found = _calibration(inputs, job, rates, peak_memory_bytes(device) - before)
    path = keep_calibration(cache_folder() / "calibration", found)
    return CalibrationResult(found, path, str(loaded.path or "RECIPE"))


def _work(job: Job, batch: Batch) -> float:
    tokens, lengths = batch.num_tokens, batch.segments.lengths
    exact = replace(
        job,
        micro_batch_tokens=tokens,
        supervised_share=batch.num_targets / tokens,
        mean_length=sum(n * n for n in lengths) / tokens,  # a token looks at half its own segment
    )
    return step_flops(exact, ours_on("cpu")).total


def _calibration(inputs: Inputs, job: Job, rates: list[tuple[float, float]], peak_bytes: float) -> Calibration:
    kind: Any = inputs.placement.device.type
    return Calibration(
        device=find_hardware("here").name,
        compute=job.compute,
        parameters=job.parameters,
        num_parameters=job.shape.parameters().total,
        flops_per_second=statistics.median(flops for flops, _ in rates),
        tokens_per_second=statistics.median(tokens for _, tokens in rates),
        peak_bytes=peak_bytes,
        planned_bytes=plan_memory(job, ours_on(kind)).total_bytes,
        steps=len(rates),
        date=date.today().isoformat(),
        versions=f"torch {torch.__version__}, Python {platform.python_version()}, {torch.get_num_threads()} threads",
    )
