"""Memory of one card: a pure function per term, the moments at which they meet, and the peak.

Not everything is there at once. The terms are summed at each moment of a step, and the largest sum is the peak:

    head        end of the forward pass: all activations, and the logits
    backward    its beginning: all activations, and the working memory of the topmost layer
    gradients   its end: all gradients, and the activations of one layer
    step        the optimiser's step
    generation  answers in evaluation or a rollout: no activations, but a cache of keys and values

Bytes are exact for what is stored; what is kept for the backward pass is exact for our engine (tests compare it with what
autograd saves); allocators and runtimes are measured shares. The error band is the engine profile's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from luthier.plan.activations import ACTIVATION_BYTES, layer_bytes, norm_bytes
from luthier.plan.engine import EngineProfile, Trained
from luthier.plan.job import Job

Moment = Literal["head", "backward", "gradients", "step", "generation"]

MOMENTS: dict[Moment, str] = {
    "head": "the end of the forward pass",
    "backward": "the start of the backward pass",
    "gradients": "the end of the backward pass",
    "step": "the optimiser's step",
    "generation": "generation",
}

NF4_BLOCK, NF4_SECOND_BLOCK = 64, 256
"""Weights that share a constant, and constants that share one (Dettmers et al. 2023, section 3)."""

UNMEASURED_ERROR = 0.25
"""Half the width of the band for methods without a measurement on our own engine."""


class Term(NamedTuple):
    """A share of the peak: what it is, its bytes, and where they come from."""

    name: str
    num_bytes: float
    note: str = ""


@dataclass(frozen=True)
class MemoryPlan:
    """Memory of one card.

    Attributes:
        terms: What exists at the peak; they sum to `total_bytes`.
        moment: When the peak is.
        total_bytes: The peak.
        low_bytes: Lower end of the error band.
        high_bytes: Upper end.
        moments: The sum at each moment.
    """

    terms: tuple[Term, ...]
    moment: Moment
    total_bytes: float
    low_bytes: float
    high_bytes: float
    moments: dict[Moment, float]


def weights(job: Job, engine: EngineProfile) -> Term:
    """Weights inside the model, as they are multiplied; 4-bit ones without their constants."""
    total, quantised = job.shape.parameters().total, job.quantised_parameters
    if job.is_full:
        copies = 2.0 if job.compute == "fp16" else 0.0  # autocast keeps its fp16 copies until the backward pass
        note = "trained, and fp16 copies while a step runs" if copies else "trained"
        return Term("weights", total * (_storage(job, engine).weight + copies), note)
    w = ACTIVATION_BYTES[job.compute]
    note = "frozen; linear layers in 4 bits" if quantised else "frozen"
    return Term("weights", (total - quantised) * w + quantised * 0.5, note)


def quantisation_constants(job: Job, engine: EngineProfile) -> Term:
    """One fp32 constant per block of 64; double quantisation makes it 8 bits and one fp32 per 256 of those."""
    per_block = 1 + 4 / NF4_SECOND_BLOCK if engine.double_quantised else 4
    return Term("quantisation constants", job.quantised_parameters * per_block / NF4_BLOCK)


def unpacked(job: Job, engine: EngineProfile) -> Term:
    """Where 4-bit weights are made from 16-bit ones in place, what stays of those."""
    return Term("left over from packing", job.quantised_parameters * engine.unpacked_bytes)


def adapters(job: Job, engine: EngineProfile) -> Term:
    """A and B inside the model."""
    return Term("adapters", job.adapter_parameters * _storage(job, engine).weight, f"rank {job.rank}")


def masters(job: Job, engine: EngineProfile) -> Term:
    """Copies of higher precision."""
    return Term("fp32 masters", job.trained_parameters * _storage(job, engine).master)


def optimiser(job: Job, engine: EngineProfile) -> Term:
    """Two moments per trained parameter; paged ones live in the host's memory."""
    moments = {"adamw": _storage(job, engine).moments, "adamw-8bit": 2.0, "paged-adamw-8bit": 0.0}[job.optimizer]
    return Term("optimiser", job.trained_parameters * moments, job.optimizer)


def gradients(job: Job, engine: EngineProfile, moment: Moment) -> Term:
    """Sums over earlier micro-batches wait during the whole step; this one's appear towards the end of its backward pass."""
    storage, count = _storage(job, engine), job.trained_parameters
    if job.in_backward:
        widest = max(job.shape.vocab, job.shape.intermediate) * job.shape.hidden
        return Term(
            "gradients", storage.gradient * (min(widest, count) if moment == "gradients" else 0), "one at a time"
        )
    waiting = storage.accumulated if job.num_micro_batches > 1 else 0.0
    separate = storage.master > 0  # gradients of the copies are added to the masters' and freed one after another
    if moment in ("head", "backward", "generation"):
        per_parameter = waiting if moment != "generation" else 0.0
    elif moment == "gradients":
        per_parameter = storage.gradient + waiting if separate else storage.accumulated
    else:
        per_parameter = storage.accumulated
    return Term("gradients", count * per_parameter, f"{per_parameter:g} bytes each")


def activations(job: Job, engine: EngineProfile) -> Term:
    """What all layers keep under the policy, and the last norm's input."""
    per_token = sum(count * layer_bytes(job, engine, kind) for kind, count in job.kept.counts.items())
    per_token += norm_bytes(job, engine) * job.shape.hidden
    recomputed = max(
        (layer_bytes(job, engine, "all") for k in job.kept.layers if k in ("input", "offload")), default=0.0
    )
    if "attention" in job.kept.layers:
        inside = layer_bytes(job, engine, "all") - layer_bytes(job, engine, "attention")
        recomputed = max(recomputed, inside)
    slack = engine.activation_slack + (engine.waiting_slack if job.num_micro_batches > 1 else 0.0)
    held = per_token * (1 + slack) + engine.churn_layers * layer_bytes(job, engine, "all")
    kept = held * job.micro_batch_tokens
    return Term("activations", kept + recomputed * job.micro_batch_tokens, str(job.kept))


def logits_and_head(job: Job, engine: EngineProfile) -> Term:
    """Logits where they exist, or one tile of them; hidden states at scored positions and their gradient."""
    shape, w = job.shape, ACTIVATION_BYTES[job.compute]
    share = 1.0 if engine.positions == "all" else job.supervised_share
    scored = max(1.0, share * job.micro_batch_tokens)
    if job.objective == "reward":
        return Term("logits and head", scored * shape.hidden * 4, "one number per answer instead of logits")
    if not engine.head_tile_bytes:
        per_logit = engine.logit_bytes + engine.logit_chunk_bytes / engine.logit_chunks
        return Term("logits and head", scored * shape.vocab * per_logit, f"{scored:,.0f} positions × {shape.vocab:,}")
    tile = max(16, engine.head_tile_bytes // (4 * shape.vocab))
    rows = min(scored, tile)
    if job.is_full or engine.name != "luthier":
        # Logits, an fp32 copy, log-softmax; from the second tile on the one before is still named while the next is made.
        per_logit = (w + 8) if scored <= tile else (2 * w + 12)
    else:
        # A frozen head's logits become their own gradient in place; the softmax is fp32, on a CPU a few rows at a time.
        per_logit = engine.softmax_bytes + (w if scored <= tile else 2 * w)
    head_gradient = 2 * w * shape.vocab * shape.hidden if job.is_full else 0
    kept = 2 * w * scored * shape.hidden
    return Term(
        "logits and head", rows * shape.vocab * per_logit + kept + head_gradient, f"tiles of {rows:,.0f} positions"
    )


def workspace(job: Job) -> Term:
    """The backward pass of one layer: gradients of the MLP's inner tensors, or of queries, keys and values in fp32."""
    shape, w = job.shape, ACTIVATION_BYTES[job.compute]
    inner = shape.experts.per_token * shape.experts.intermediate if shape.experts else shape.intermediate
    mlp = 3 * w * inner + 3 * w * shape.hidden
    attention = (7 * 4 + w) * shape.q_width
    scores = 0.0
    if job.attention == "eager":
        scores = 2 * 4 * shape.num_heads * min(job.context, shape.window or job.context)
    dequantised = 0.0
    if job.parameters == "qlora":
        dequantised = w * max(x.inputs * x.outputs for x in shape.linears())
    note = "backward pass of one layer"
    return Term(
        "attention and layer workspace", max(mlp, attention + scores) * job.micro_batch_tokens + dequantised, note
    )


def further_models(job: Job, engine: EngineProfile) -> Term:
    """The second to fourth model: reference (DPO, PPO), critic and reward model (PPO).

    With an adapter all of them share the frozen weights: the reference is the adapter switched off, critic and reward model are
    adapters of their own. In full fine-tuning each is a model.
    """
    frozen = job.shape.parameters().total * ACTIVATION_BYTES[job.compute]
    storage = _storage(job, engine)
    whole = storage.weight + storage.master + storage.moments + storage.accumulated
    name = "further models"
    if job.objective == "dpo":
        note = "reference: a frozen copy (none where its log-probabilities are made beforehand)"
        return Term(name, frozen, note) if job.is_full else Term(name, 0, "reference: the adapter switched off")
    if job.objective == "ppo":
        if job.is_full:
            critic = job.trained_parameters * whole
            return Term(name, 2 * frozen + critic, "reference and reward model (frozen), critic (trained)")
        note = "critic: a second adapter; reward model: a third; reference: the adapter switched off"
        return Term(name, job.adapter_parameters * (whole + storage.weight), note)
    if job.objective == "reward":
        return Term(name, job.shape.hidden * whole, "no further model; the head for the reward")
    return Term(name, 0)


def generation(job: Job) -> Term:
    """Cache of keys and values for all answers at once, the prompts' widest layer, and the logits of the last positions."""
    shape, w = job.shape, ACTIVATION_BYTES[job.compute]
    rows, tokens = job.generation_rows, job.generation_tokens
    sliding = shape.num_window_layers if shape.window else 0
    cached = (shape.num_layers - sliding) * tokens + sliding * min(tokens, shape.window or tokens)
    cache = 2 * rows * cached * shape.kv_width * w
    prompt = rows * tokens * (4 * w * shape.intermediate)
    note = f"{rows} answers, prompt and answer up to {tokens:,} tokens"
    return Term("generation", cache + prompt + rows * shape.vocab * (w + 8), note)


def overhead(engine: EngineProfile, planned: float) -> Term:
    """Runtime, and what the allocator holds beyond what was asked for."""
    return Term("framework overhead", engine.overhead_bytes + engine.slack * planned)


def gathered(job: Job) -> float:
    """Bytes that are whole on every card although they are stored in shards: two layers and the embeddings."""
    if job.num_shards == 1:
        return 0.0
    groups = job.shape.parameters()
    layer = (groups.total - groups.embedding - groups.head) / job.shape.num_layers
    ends = groups.embedding + groups.head
    w = ACTIVATION_BYTES[job.compute]
    per_weight = 0.5 + 4 / NF4_BLOCK if job.parameters == "qlora" else w
    gradient = w if job.is_full else 0.0
    return 2 * layer * per_weight + ends * w + (layer + ends) * gradient


def plan_memory(job: Job, engine: EngineProfile) -> MemoryPlan:
    """The peak of one card, by term, with its error band."""
    stored = [weights(job, engine), quantisation_constants(job, engine), adapters(job, engine), masters(job, engine)]
    stored += [unpacked(job, engine), optimiser(job, engine), further_models(job, engine)]
    moments: dict[Moment, list[Term]] = {}
    makers: dict[Moment, Callable[[], list[Term]]] = {
        "head": lambda: [activations(job, engine), logits_and_head(job, engine)],
        "backward": lambda: [activations(job, engine), workspace(job)],
        "gradients": lambda: [_one_layer(job, engine), workspace(job)],
        "step": lambda: [_step_extra(job, engine)],
        "generation": lambda: [generation(job)],
    }
    for moment, make in makers.items():
        if moment == "generation" and not job.generation_rows:
            continue
        terms = [_sharded(term, job) for term in (*stored, gradients(job, engine, moment))]
        moments[moment] = [*terms, Term("gathered shards", gathered(job), f"of {job.num_shards}"), *make()]
    sums: dict[Moment, float] = {moment: sum(t.num_bytes for t in terms) for moment, terms in moments.items()}
    peak: Moment = max(sums, key=lambda moment: sums[moment])
    extra = overhead(engine, sums[peak])
    total = sums[peak] + extra.num_bytes
    terms = tuple(t for t in (*moments[peak], extra) if t.num_bytes > 0)
    error = error_share(job, engine)
    low, high = total * (1 - error), total * (1 + error)
    return MemoryPlan(terms, peak, total, low, high, {m: s + overhead(engine, s).num_bytes for m, s in sums.items()})


def error_share(job: Job, engine: EngineProfile) -> float:
    """Half the width of the band; wider for what our own engine has not been measured with."""
    unmeasured = job.parameters not in engine.measured or job.objective not in engine.measured
    unmeasured = unmeasured or job.compute == "fp16" or job.num_shards > 1
    return max(engine.error_share, UNMEASURED_ERROR) if engine.name == "luthier" and unmeasured else engine.error_share


def inference_bytes(job: Job, engine: EngineProfile) -> float:
    """Weights and generation alone: no adapter, no optimiser."""
    return weights(job, engine).num_bytes + quantisation_constants(job, engine).num_bytes + generation(job).num_bytes


def _storage(job: Job, engine: EngineProfile) -> Trained:
    storage = engine.trained if job.is_full else engine.adapter
    if job.num_shards > 1 and job.is_full:  # FSDP2 keeps one fp32 copy in shards and gathers bf16
        return Trained(weight=4, master=0, moments=8, gradient=4, accumulated=4)
    if job.compute == "bf16" or engine.name != "luthier":
        return storage
    # fp32 parameters are their own masters; fp16 training keeps what is trained in fp32 (docs/design/precision.md).
    return Trained(weight=4, master=0, moments=8, gradient=4, accumulated=4)


def _sharded(term: Term, job: Job) -> Term:
    return term if job.num_shards == 1 else term._replace(num_bytes=term.num_bytes / job.num_shards)


def _one_layer(job: Job, engine: EngineProfile) -> Term:
    if not engine.returns_blocks:
        return activations(job, engine)
    kept = layer_bytes(job, engine, "all") * job.micro_batch_tokens
    return Term("activations", kept, "of the lowest layer")


def _step_extra(job: Job, engine: EngineProfile) -> Term:
    extra = 0.0 if job.in_backward or job.optimizer != "adamw" else _storage(job, engine).step_extra
    return Term("optimiser's temporaries", job.trained_parameters * extra / job.num_shards)
