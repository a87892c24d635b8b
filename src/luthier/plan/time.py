"""Seconds from operations: work divided by what the device really reaches, plus the optimiser's pass over its memory.

Without calibration the rate is the table's peak times a published share of it, which is good to about a third; `Calibration`
replaces it with what ten steps on the device did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from luthier.plan.calibration import Calibration
from luthier.plan.engine import EngineProfile
from luthier.plan.flops import Work, forward_flops, step_flops
from luthier.plan.hardware import Hardware
from luthier.plan.job import Job

UNCALIBRATED_ERROR, CALIBRATED_ERROR = 0.35, 0.15
"""Half the width of the band of a time, as a share of it."""

RANK_EFFICIENCY = 0.92
"""What each further card keeps of its speed when gradients are exchanged or shards gathered; assumed."""

HOST_SECONDS_PER_LAYER = 0.008
"""What a host takes to launch one layer's forward and backward pass on a card: 0.25 to 0.4 s a micro-batch for 28 to 36 layers
(Unsloth's source, `utils/padding_choice.py`). Small models wait for it."""

GENERATION_TOKENS_FACTOR = 3.0
"""Rollouts: a generated token reads all weights anew, which batched decoding hides only in part; assumed."""


@dataclass(frozen=True)
class Amount:
    """How much there is to learn.

    Attributes:
        num_rows: Training rows.
        mean_tokens: Of a row.
        epochs: Passes over them.
        batch_rows: Rows per optimiser step over all cards.
    """

    num_rows: int
    mean_tokens: float
    epochs: float
    batch_rows: int

    @property
    def tokens(self) -> float:
        """Tokens that go through the model."""
        return self.num_rows * self.mean_tokens * self.epochs

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        per_epoch = -(-self.num_rows // self.batch_rows)
        return max(1, round(per_epoch * self.epochs))


class Seconds(NamedTuple):
    """A time with its band, and the rate behind it."""

    seconds: float
    low: float
    high: float
    tokens_per_second: float
    calibrated: bool


def objective_work(job: Job, engine: EngineProfile) -> Work:
    """Operations of a micro-batch with what the objective adds: reference, critic and reward passes, generation."""
    work = step_flops(job, engine)
    forward = forward_flops(job)
    if job.objective == "dpo":
        return work._replace(forward=work.forward + forward)
    if job.objective == "ppo":
        further = (2 + GENERATION_TOKENS_FACTOR) * forward  # reference, reward model, rollout
        return Work(2 * work.forward + further, 2 * work.backward, 2 * work.recomputed)  # the critic learns too
    return work


def seconds_per_micro_batch(
    job: Job, engine: EngineProfile, device: Hardware, calibration: Calibration | None = None
) -> float:
    """Of one card."""
    rate = device.peak_flops(job.compute) * device.efficiency
    if calibration is not None:
        rate = calibration.flops_per_second
    seconds = objective_work(job, engine).total / rate
    if device.kind == "cuda" and calibration is None:
        passes = {"sft": 1.0, "reward": 1.0, "dpo": 1.5, "ppo": 4.0}[job.objective]
        return max(seconds, passes * HOST_SECONDS_PER_LAYER * job.shape.num_layers)
    return seconds


def seconds_per_update(job: Job, device: Hardware) -> float:
    """AdamW reads and writes masters, moments and gradients once: about 30 bytes a trained parameter."""
    return 30 * job.trained_parameters / job.num_shards / (device.bandwidth_gbs * 1e9)


def training_time(
    job: Job,
    engine: EngineProfile,
    device: Hardware,
    amount: Amount,
    *,
    num_cards: int = 1,
    calibration: Calibration | None = None,
) -> Seconds:
    """The whole training, validation and saving left out."""
    cards = num_cards * (RANK_EFFICIENCY if num_cards > 1 else 1.0)
    micro_batches = amount.tokens / job.micro_batch_tokens
    seconds = micro_batches * seconds_per_micro_batch(job, engine, device, calibration) / cards
    seconds += amount.steps * seconds_per_update(job, device)
    error = CALIBRATED_ERROR if calibration else UNCALIBRATED_ERROR
    return Seconds(
        seconds,
        seconds * (1 - error),
        seconds * (1 + error),
        amount.tokens / max(seconds, 1e-9),
        calibration is not None,
    )
