"""The ladder from fast to small: token budgets and checkpointing policies under which a training is the same training.

A rung changes how a step is cut into micro-batches and what layers keep for the backward pass: never what is learnt. The trainer
takes the first rung whose plan fits, and goes down one when memory runs out all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from luthier.plan.engine import EngineProfile
from luthier.plan.job import Job
from luthier.plan.memory import MemoryPlan, plan_memory
from luthier.plan.policy import CheckpointPolicy

LEAST_TOKENS = 1024
"""Below this, smaller micro-batches cost more than computing a part of each layer twice; they come last."""


@dataclass(frozen=True, slots=True)
class Rung:
    """Tokens that go through the model at once, and what its layers keep meanwhile."""

    micro_batch_tokens: int
    policy: CheckpointPolicy

    def __str__(self) -> str:
        return f"{self.micro_batch_tokens:,} tokens at once; {self.policy}"


def ladder(
    start: Rung, longest_row: int, *, tokens_fixed: bool, policy_fixed: bool, offloads: bool
) -> tuple[Rung, ...]:
    """From `start` downwards: smaller micro-batches, then policies, then the smallest micro-batches.

    Args:
        longest_row: A row is never cut, so budgets below it change nothing.
        tokens_fixed: The budget was asked for and stays.
        policy_fixed: The policy was asked for and stays.
        offloads: Whether there is another memory that layers' inputs can wait in.
    """
    rungs = [start]
    if not tokens_fixed:
        rungs += _halved(start, max(longest_row, LEAST_TOKENS))
    if not policy_fixed:
        rungs += [replace(rungs[-1], policy=policy) for policy in _policies(start.policy, offloads)]
    if not tokens_fixed:
        rungs += _halved(rungs[-1], longest_row)
    return tuple(rungs)


def _halved(rung: Rung, least: int) -> list[Rung]:
    found: list[Rung] = []
    tokens = rung.micro_batch_tokens
    while tokens > least:
        tokens = max(least, tokens // 2)
        found.append(replace(rung, micro_batch_tokens=tokens))
    return found


def _policies(start: CheckpointPolicy, offloads: bool) -> list[CheckpointPolicy]:
    """Those below keeping everything, by what they cost; none below a policy that recomputes already."""
    if start.recomputes:
        return []
    count = len(start.layers)
    half = count - count // 2
    found = [
        CheckpointPolicy.mixed(count, {"attention": half}),
        CheckpointPolicy.mixed(count, {"attention": count}),
        CheckpointPolicy.mixed(count, {"input": half, "attention": count - half}),
        CheckpointPolicy.recompute_all(count),
    ]
    if offloads:
        found.append(CheckpointPolicy.mixed(count, {"offload": count}))
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Choice:
    """The rung to begin on.

    Attributes:
        index: In the ladder.
        plan: Memory planned for it.
        fits: Whether the upper end of its error band does; the lowest rung is taken even where it does not.
    """

    index: int
    plan: MemoryPlan
    fits: bool


def choose(job: Job, rungs: tuple[Rung, ...], engine: EngineProfile, available_bytes: float) -> Choice:
    """The first rung whose plan, at the upper end of its error band, fits into what is there."""
    index, plan = 0, plan_on(job, rungs[0], engine)
    while plan.high_bytes > available_bytes and index < len(rungs) - 1:
        index += 1
        plan = plan_on(job, rungs[index], engine)
    return Choice(index, plan, plan.high_bytes <= available_bytes)


def plan_on(job: Job, rung: Rung, engine: EngineProfile) -> MemoryPlan:
    """Memory of a job on a rung."""
    return plan_memory(job_on(job, rung), engine)


def job_on(job: Job, rung: Rung) -> Job:
    """A job of the highest rung cut as another one says; a step has as many tokens as before."""
    tokens = max(job.context, min(rung.micro_batch_tokens, job.micro_batch_tokens))
    num = max(job.num_micro_batches, -(-job.num_micro_batches * job.micro_batch_tokens // tokens))
    return replace(job, micro_batch_tokens=tokens, num_micro_batches=num, policy=rung.policy)
