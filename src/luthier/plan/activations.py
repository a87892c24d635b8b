"""Bytes per token that a transformer layer keeps for its backward pass, tensor by tensor.

Autograd keeps the input of what is trained or adapted, both factors of a product of two activations, and what a nonlinear
function needs. A frozen linear layer keeps nothing: its input gradient needs only its weight. Widths: H hidden, Q and K all
query and all key/value heads, I the MLP's inner width, w bytes per element of the compute type.
"""

from __future__ import annotations

from typing import NamedTuple

from luthier.plan.engine import EngineProfile
from luthier.plan.job import Job
from luthier.plan.policy import Keeps

ACTIVATION_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}


class Kept(NamedTuple):
    """A tensor: which part of the layer it belongs to, what it is, and its bytes per token."""

    part: str
    name: str
    bytes_per_token: float


def layer_kept(job: Job, engine: EngineProfile) -> list[Kept]:
    """Everything one layer keeps under the policy "all"."""
    return [*_norms(job, engine), *_attention(job, engine), *_mlp(job, engine)]


def layer_bytes(job: Job, engine: EngineProfile, keeps: Keeps) -> float:
    """Bytes per token of one layer under a policy; ``offload`` keeps nothing on the card."""
    w = ACTIVATION_BYTES[job.compute]
    if keeps == "offload":
        return 0.0
    if keeps == "input":
        return w * job.shape.hidden
    parts = layer_kept(job, engine)
    return sum(k.bytes_per_token for k in parts if keeps == "all" or k.part != "mlp inside")


def norm_bytes(job: Job, engine: EngineProfile) -> int:
    """Bytes per element of a norm's input."""
    fp32 = job.compute == "fp32"
    if job.shape.norm_bias:  # LayerNorm keeps its input as it is
        return ACTIVATION_BYTES[job.compute]
    if job.shape.family.startswith("gemma"):
        return engine.gemma_norm_trained if job.is_full else engine.gemma_norm_frozen
    if fp32:
        return 8 if job.is_full else 4
    return engine.norm_trained if job.is_full else engine.norm_frozen


def _input_kept(job: Job, engine: EngineProfile, reads: str, width: int) -> float:
    """Bytes per token of what linear layers keep of a tensor that they read, beyond what others keep of it."""
    w = ACTIVATION_BYTES[job.compute]
    readers = [x for x in job.adapted() if x.reads == reads]
    copies = len(readers)
    if copies and reads == "attention input" and engine.fused_qkv_adapter:
        copies = 1
    own = copies * width * engine.adapter_input
    quantised = job.parameters == "qlora" and engine.keeps_frozen_input
    once = job.is_full or quantised or (copies and engine.shares_inputs)
    return own + (w * width if once else 0) + (w * job.rank * len(readers))


def _norms(job: Job, engine: EngineProfile) -> list[Kept]:
    shape, per_element = job.shape, norm_bytes(job, engine)
    count = 1 if shape.parallel and shape.norms_per_layer == 1 else shape.norms_per_layer
    per_row = 8 if shape.norm_bias else 4  # one fp32 number per normed row; a LayerNorm keeps the mean too
    kept = [Kept("norms", f"input of {count} norms", count * (per_element * shape.hidden + per_row))]
    kept.append(
        Kept("norms", "input of q, k, v", _input_kept(job, engine, "attention input", shape.hidden)),
    )
    shared = shape.parallel and shape.norms_per_layer == 1 and (job.is_full or engine.shares_inputs)
    if not shared:
        kept.append(Kept("norms", "input of the MLP", _input_kept(job, engine, "mlp input", shape.hidden)))
    if shape.qk_norm:
        widths = shape.q_width + shape.kv_width
        rows = shape.num_heads + shape.num_kv_heads
        kept.append(Kept("norms", "queries and keys before their norm", per_element * widths + per_row * rows))
    return kept


def _attention(job: Job, engine: EngineProfile) -> list[Kept]:
    shape, w = job.shape, ACTIVATION_BYTES[job.compute]
    q, kv = shape.q_width, shape.kv_width
    grouped = q != kv
    if engine.repeats_kv and grouped:
        stored = w * 3 * q
    elif engine.qkv_storage:
        stored = w * (2 * (q + kv) + kv)  # roped q and k, and the whole of q, k, v behind v
    elif shape.fused_projections:
        stored = w * (2 * (q + kv) + kv)
    else:
        stored = w * (q + 2 * kv)
    kept = [Kept("attention", "q, k, v", stored)]
    if job.attention == "eager":
        heads, span = shape.num_heads, min(job.context, shape.window or job.context)
        scores = (2 * w + 4 + (w if shape.softcap else 0)) * heads * span
        kept.append(Kept("attention", "scores of the longest row", scores))
    kept.append(Kept("attention", "output and one number per head", w * q + 4 * shape.num_heads))
    kept.append(Kept("attention", "input of o_proj", _output_kept(job, engine)))
    return kept


def _output_kept(job: Job, engine: EngineProfile) -> float:
    """The attention's output is kept already; an adapter adds only its own copies."""
    w = ACTIVATION_BYTES[job.compute]
    readers = [x for x in job.adapted() if x.reads == "attention output"]
    return sum(engine.adapter_input * x.inputs + w * job.rank for x in readers)


def _mlp(job: Job, engine: EngineProfile) -> list[Kept]:
    shape, w = job.shape, ACTIVATION_BYTES[job.compute]
    if shape.experts is not None:
        inner = shape.experts.per_token * shape.experts.intermediate
        routed = shape.experts.per_token * shape.hidden
        return [
            Kept("mlp inside", "rows sorted by expert, and their outputs", 2 * w * routed),
            Kept("mlp inside", "gate, activation, up and product of the chosen experts", 4 * w * inner),
        ]
    inner = shape.intermediate
    fused = shape.family in engine.fused_activation or "all" in engine.fused_activation
    activated = 0 if fused else w * inner
    if shape.gated:
        kept = [Kept("mlp inside", "gate, its activation, up", 2 * w * inner + activated)]
    else:
        kept = [Kept("mlp inside", "input of the activation", w * inner)]
    kept.append(Kept("mlp inside", "input of down_proj", _input_kept(job, engine, "mlp product", inner)))
    return kept
