"""What to change when a training does not fit: each remedy with the memory it saves and the time it costs, in order of harm.

A remedy changes the job and says the same as overrides of a recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from luthier.plan.engine import EngineProfile
from luthier.plan.hardware import Hardware
from luthier.plan.job import Job
from luthier.plan.memory import plan_memory
from luthier.plan.policy import CheckpointPolicy
from luthier.plan.time import seconds_per_micro_batch

SHORTEST_CONTEXT, SMALLEST_RANK = 256, 8
"""Below these a remedy costs more than it brings."""


class Change(NamedTuple):
    """A changed job and the overrides that change a recipe alike."""

    job: Job
    overrides: tuple[str, ...]
    words: str


class Remedy(NamedTuple):
    """A way to need less memory.

    Attributes:
        name: In two or three words.
        change: None where it would change nothing. May be applied again (halves what it halves).
        harm: What it costs besides time.
    """

    name: str
    change: Callable[[Job, Hardware], Change | None]
    harm: str = ""


@dataclass(frozen=True)
class Saving:
    """What one remedy does to a job, alone.

    Attributes:
        saved_bytes: Less memory at the peak.
        slower_share: More time per token, as a share (0.33: a third more).
        overrides: For a recipe.
    """

    name: str
    words: str
    saved_bytes: float
    slower_share: float
    overrides: tuple[str, ...]
    harm: str


@dataclass(frozen=True)
class Patch:
    """The first set of remedies that fits.

    Attributes:
        overrides: Of a recipe: ``luthier train my.yaml OVERRIDES``.
        needed_bytes: Planned peak with them.
        slower_share: More time per token.
    """

    names: tuple[str, ...]
    overrides: tuple[str, ...]
    needed_bytes: float
    slower_share: float
    job: Job


def _smaller_micro_batch(job: Job, _: Hardware) -> Change | None:
    tokens = max(job.context, job.micro_batch_tokens // 2)
    if tokens >= job.micro_batch_tokens:
        return None  # a row is never cut: the longest one goes alone
    times = -(-job.micro_batch_tokens // tokens)
    changed = replace(job, micro_batch_tokens=tokens, num_micro_batches=job.num_micro_batches * times)
    words = f"{tokens:,} tokens at once, gradients added up: the same step"
    return Change(changed, (f"train.micro_batch_tokens={tokens}",), words)


def _checkpointing(job: Job, _: Hardware) -> Change | None:
    if job.kept.recomputes:
        return None
    policy = CheckpointPolicy.recompute_all(job.shape.num_layers)
    return Change(replace(job, policy=policy), ("train.gradient_checkpointing=true",), "layers are computed twice")


def _adapter(job: Job, _: Hardware) -> Change | None:
    if not job.is_full:
        return None
    changed = replace(job, parameters="lora", rank=16, targets="all-linear")
    return Change(
        changed, ("adapter={kind: lora, rank: 16}", "train.learning_rate=2e-4"), "LoRA of rank 16 on frozen weights"
    )


def _four_bits(job: Job, device: Hardware) -> Change | None:
    if job.parameters != "lora" or device.kind == "mps":  # bitsandbytes does not run there
        return None
    changed = replace(job, parameters="qlora")
    return Change(changed, ("precision.base=nf4",), "linear layers in 4 bits, an adapter on them")


def _shorter_context(job: Job, _: Hardware) -> Change | None:
    context = job.context // 2
    if context < SHORTEST_CONTEXT:
        return None
    tokens = min(job.micro_batch_tokens, context)
    times = -(-job.micro_batch_tokens // tokens)
    mean = min(job.mean_length or job.context, context)
    changed = replace(
        job,
        context=context,
        micro_batch_tokens=tokens,
        mean_length=mean,
        num_micro_batches=job.num_micro_batches * times,
    )
    overrides = (f"data.max_length={context}", f"train.micro_batch_tokens={tokens}")
    return Change(changed, overrides, f"rows of {context:,} tokens at most")


def _fused_attention(job: Job, _: Hardware) -> Change | None:
    if job.attention == "fused" or job.shape.softcap:
        return None  # soft-capped scores must exist
    return Change(replace(job, attention="fused"), ("model.attention=auto",), "no matrix of scores")


def _half_precision(job: Job, device: Hardware) -> Change | None:
    if job.compute != "fp32" or not device.bf16:
        return None
    return Change(
        replace(job, compute="bf16"), ("precision.compute=bf16",), "bf16 weights and activations, fp32 masters"
    )


def _lower_rank(job: Job, _: Hardware) -> Change | None:
    rank = job.rank // 2
    if job.is_full or rank < SMALLEST_RANK:
        return None
    return Change(replace(job, rank=rank), (f"adapter.rank={rank}",), f"rank {rank}")


def _paged_optimiser(job: Job, device: Hardware) -> Change | None:
    if job.optimizer != "adamw" or device.kind != "cuda":
        return None
    changed = replace(job, optimizer="paged-adamw-8bit")
    return Change(changed, ("train.optimizer=paged-adamw-8bit",), "moments of 8 bits, in the host's memory when needed")


REMEDIES: tuple[Remedy, ...] = (
    Remedy("smaller micro-batch", _smaller_micro_batch),
    Remedy("checkpointing", _checkpointing),
    Remedy("adapter", _adapter, harm="learns less than training every parameter"),
    Remedy("QLoRA", _four_bits, harm="weights are rounded to 16 values"),
    Remedy("shorter context", _shorter_context, harm="longer rows are dropped, or cut with data.overlong=truncate"),
    Remedy("memory-efficient attention", _fused_attention),
    Remedy("bf16", _half_precision, harm="eight bits of precision in products"),
    Remedy("lower rank", _lower_rank, harm="the adapter can learn less"),
    Remedy("paged 8-bit optimiser", _paged_optimiser),
)


def savings(job: Job, engine: EngineProfile, device: Hardware) -> tuple[Saving, ...]:
    """Every remedy that would change something, alone."""
    before = plan_memory(job, engine).total_bytes
    found: list[Saving] = []
    for remedy in REMEDIES:
        change = remedy.change(job, device)
        if change is None:
            continue
        saved = before - plan_memory(change.job, engine).total_bytes
        if saved > 0:
            slower = slower_share(job, change.job, engine, device)
            found.append(Saving(remedy.name, change.words, saved, slower, change.overrides, remedy.harm))
    return tuple(found)


def slower_share(job: Job, other: Job, engine: EngineProfile, device: Hardware) -> float:
    """How much more time a token takes; below 0 where it takes less."""

    def per_token(one: Job) -> float:
        seconds = seconds_per_micro_batch(one, engine, device)
        if one.parameters == "qlora":  # 4-bit weights are read, and written in 16 bits, for every pass
            passes = 3 if one.kept.recomputes else 2
            seconds += passes * 2.6 * one.quantised_parameters / (device.bandwidth_gbs * 1e9)
        return seconds / one.micro_batch_tokens

    return per_token(other) / per_token(job) - 1


def first_patch(job: Job, engine: EngineProfile, device: Hardware, usable_bytes: float) -> Patch | None:
    """Remedies in order, each as often as it helps, until the plan fits; then those are dropped that are not needed.

    Args:
        usable_bytes: What one card has to give.

    Returns:
        None where nothing fits, or where nothing has to change.
    """

    def needed(one: Job) -> float:
        return plan_memory(one, engine).total_bytes

    if needed(job) <= usable_bytes:
        return None
    used = _until_it_fits(job, REMEDIES, device, lambda one: needed(one) <= usable_bytes)
    if used is None:
        return None
    for remedy in list(dict.fromkeys(used)):  # what was tried first may no longer be needed
        without = [r for r in used if r is not remedy]
        changed = _apply(job, without, device)
        if changed is not None and needed(changed.job) <= usable_bytes:
            used = without
    final = _apply(job, used, device)
    assert final is not None
    names = tuple(dict.fromkeys(r.name for r in used))
    slower = slower_share(job, final.job, engine, device)
    return Patch(names, final.overrides, needed(final.job), slower, final.job)


def _until_it_fits(
    job: Job, allowed: Sequence[Remedy], device: Hardware, fits: Callable[[Job], bool]
) -> list[Remedy] | None:
    used: list[Remedy] = []
    for remedy in allowed:
        while (change := remedy.change(job, device)) is not None:
            job = change.job
            used.append(remedy)
            if fits(job):
                return used
    return None


def _apply(job: Job, used: Sequence[Remedy], device: Hardware) -> Change | None:
    """All of them; of two overrides of one field the later one stays. None where one no longer changes anything."""
    overrides: dict[str, str] = {}
    for remedy in used:
        change = remedy.change(job, device)
        if change is None:
            return None
        job = change.job
        overrides.update({o.partition("=")[0]: o for o in change.overrides})
    return Change(job, tuple(overrides.values()), "")
