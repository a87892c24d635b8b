"""Floating-point operations of a training step, a product of m × k and k × n counting 2 m k n.

Per token, with N multiplied weights: forward 2N, gradient by input 2N, gradient by weights 2N for trained ones only; so a
frozen base takes 4N and full fine-tuning 6N. What a policy computes again comes on top. Attention: 4 · q · c per token and
layer forward, for queries of width q that look at c keys; its backward pass is 2.5 times that where scores are computed again
(fused kernels) and twice where they were kept.

`Counting` says how a meter counts; torch's FlopCounterMode counts attention as if it were not causal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from luthier.plan.engine import EngineProfile
from luthier.plan.job import Job


class Work(NamedTuple):
    """Operations of one micro-batch."""

    forward: float
    backward: float
    recomputed: float

    @property
    def total(self) -> float:
        """All."""
        return sum(self)

    def times(self, factor: float) -> Work:
        """As much of each."""
        return Work(*(factor * part for part in self))


@dataclass(frozen=True, slots=True)
class Counting:
    """How operations are counted.

    Attributes:
        causal: Count only the half of the scores that a causal kernel computes.
        all_positions: Count the head at every position, as plain transformers computes it, and never twice.
    """

    causal: bool = True
    all_positions: bool = False


AS_COMPUTED = Counting()


def forward_flops(job: Job, counting: Counting = AS_COMPUTED) -> float:
    """One pass over a micro-batch without gradients, head included."""
    layers = job.shape.num_layers * (_layer_linear(job) + _layer_adapter(job) + _layer_attention(job, counting))
    return layers + _head(job, counting)


def step_flops(job: Job, engine: EngineProfile, counting: Counting = AS_COMPUTED) -> Work:
    """Forward and backward pass over one micro-batch, with what the policy computes again."""
    shape = job.shape
    linear, adapter, attention = _layer_linear(job), _layer_adapter(job), _layer_attention(job, counting)
    score_passes = 2.5 if job.attention == "fused" else 2.0
    backward = shape.num_layers * (linear * (2 if job.is_full else 1) + 2 * adapter + score_passes * attention)
    # Below the lowest adapters nothing is trained: their input needs no gradient. Checkpointed layers get one all the same,
    # because transformers then asks for a gradient of the embeddings.
    if not job.is_full and "input" not in job.kept.layers:
        lowest = [x for x in shape.linears() if x.reads == "attention input"]
        backward -= 2 * job.micro_batch_tokens * sum(x.inputs * x.outputs for x in lowest)
        thin = [x for x in job.adapted() if x.reads == "attention input"]
        backward -= 2 * job.micro_batch_tokens * sum(job.rank * x.inputs for x in thin)
    head = _head(job, counting)
    again = sum(_recomputed(job, kind, linear, adapter, attention) for kind in job.kept.layers)
    backward += head * (2 if job.is_full else 1)
    if job.is_full and engine.head_tile_bytes and not counting.all_positions:
        again += head  # a trained head's tiles are made again
    return Work(shape.num_layers * (linear + adapter + attention) + head, backward, again)


def _layer_linear(job: Job) -> float:
    shape = job.shape
    weights = sum(x.inputs * x.outputs for x in shape.linears())
    if shape.experts is not None:
        weights += 3 * shape.hidden * shape.experts.intermediate * shape.experts.per_token
        weights += shape.hidden * shape.experts.count
    return 2 * weights * job.micro_batch_tokens


def _layer_adapter(job: Job) -> float:
    return 2 * job.rank * sum(x.inputs + x.outputs for x in job.adapted()) * job.micro_batch_tokens


def _layer_attention(job: Job, counting: Counting) -> float:
    """Mean over layers, of which some may see a window only."""
    shape = job.shape
    length = job.mean_length or job.context

    def keys(span: float) -> float:
        if not counting.causal:
            return length
        if span >= length:
            return (length + 1) / 2
        return span - span * (span - 1) / (2 * length)  # the first `span` queries see fewer

    share = shape.num_window_layers / shape.num_layers if shape.window else 0.0
    mean_keys = share * keys(shape.window or length) + (1 - share) * keys(length)
    return 4 * job.micro_batch_tokens * mean_keys * shape.q_width


def _head(job: Job, counting: Counting) -> float:
    if job.objective == "reward":
        return 2 * job.micro_batch_tokens * job.shape.hidden
    share = 1.0 if counting.all_positions else job.supervised_share
    return 2 * job.shape.vocab * job.shape.hidden * job.micro_batch_tokens * share


def _recomputed(job: Job, kind: str, linear: float, adapter: float, attention: float) -> float:
    """A layer's forward pass up to the last tensor that its backward pass reads: down_proj's own product is only needed where a
    norm follows it.
    """
    followed = job.shape.norms_per_layer == 4 and kind != "attention"
    down = None if followed else next((x for x in job.shape.linears() if x.name == "down_proj"), None)
    unneeded = 2 * down.inputs * down.outputs * job.micro_batch_tokens if down and job.is_full else 0.0
    if down is not None and not job.is_full and down in job.adapted():
        unneeded = 2 * job.rank * down.outputs * job.micro_batch_tokens
    if kind in ("input", "offload"):
        return linear + adapter + attention - unneeded
    if kind == "attention":
        mlp = [x for x in job.shape.linears() if x.part == "mlp"]
        thin = [x for x in job.adapted() if x.part == "mlp"]
        again = sum(x.inputs * x.outputs for x in mlp) + job.rank * sum(x.inputs + x.outputs for x in thin)
        return 2 * again * job.micro_batch_tokens - unneeded
    return 0.0
