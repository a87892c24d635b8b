"""What an engine stores and keeps. The formulas in `memory` are the same for all; only these numbers differ.

`OURS` is read off Luthier's own code. The others exist so that measurements that other engines published can check the
formulas, and so that a comparison is fair. Every figure is bytes per element unless its name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Device = Literal["cuda", "cpu", "mps"]
Positions = Literal["all", "supervised"]


@dataclass(frozen=True, slots=True)
class Trained:
    """Bytes per trained parameter.

    Attributes:
        weight: The copy inside the model.
        master: A copy of higher precision beside it.
        moments: The optimiser's state.
        gradient: What the backward pass writes.
        accumulated: Gradients that wait from earlier micro-batches of the same step; they replace `gradient` where equal.
        step_extra: What the optimiser's step needs for a moment.
    """

    weight: float
    master: float
    moments: float
    gradient: float
    accumulated: float
    step_extra: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """What an engine keeps for the backward pass, and how.

    Attributes:
        trained: Storage of trained weights (full fine-tuning) in bf16 training.
        adapter: Storage of adapters in bf16 training.
        norm_frozen: Kept per element of a norm's input where the norm's weight is frozen.
        norm_trained: The same where it is trained.
        gemma_norm_frozen: For norms that multiply by 1 + w in fp32.
        gemma_norm_trained: The same where it is trained.
        shares_inputs: Whether adapted layers that read the same tensor keep it once.
        adapter_input: Kept per element of each adapted layer's input on top (an own copy, a dropout mask, an fp32 cast).
        fused_qkv_adapter: Whether one adapter serves q, k and v, so that they read one copy.
        keeps_frozen_input: Whether a frozen quantised layer keeps its input.
        qkv_storage: Whether v is a view that holds on to one tensor of q, k and v.
        repeats_kv: Whether keys and values are copied to all query heads.
        fused_activation: Families whose activation's output is computed again instead of kept; "all" where a compiler sees to it.
        logit_bytes: Per logit that exists at the peak; 0 where the head works in tiles.
        logit_chunks: Parts that the fp32 side of the logits is made in; the rest exists whole.
        logit_chunk_bytes: Per logit of one part, beside `logit_bytes`.
        head_tile_bytes: Size of a tile of fp32 logits where the head works in tiles; 0: it does not.
        softmax_bytes: Per logit of a tile, for a frozen head's softmax beside the logits themselves.
        positions: Where the head runs.
        double_quantised: Whether the constants of 4-bit weights are quantised themselves.
        activation_slack: Share of the activations that the allocator holds beyond them (blocks that cannot be handed back).
        waiting_slack: The same once more where gradients wait between micro-batches: they lie among blocks that are freed.
        churn_layers: What the allocator holds back from temporaries of single layers, in layers' worth of kept bytes.
        returns_blocks: Whether memory of activations is free for something else as soon as they are.
        slack: Share of everything that the allocator holds beyond it.
        overhead_bytes: What the runtime takes, whatever is trained.
        unpacked_bytes: Per parameter of a 4-bit layer, what stays of its 16-bit form: its file is mapped, blocks stay taken.
        measured: Methods and objectives that the profile was held against on a real machine.
        error_share: Half the width of the error band, as a share of the plan.
    """

    name: str
    trained: Trained
    adapter: Trained
    norm_frozen: int
    norm_trained: int
    gemma_norm_frozen: int = 4
    gemma_norm_trained: int = 8
    shares_inputs: bool = True
    adapter_input: int = 0
    fused_qkv_adapter: bool = False
    keeps_frozen_input: bool = False
    qkv_storage: bool = False
    repeats_kv: bool = False
    fused_activation: tuple[str, ...] = ()
    logit_bytes: float = 0.0
    logit_chunks: int = 1
    logit_chunk_bytes: float = 0.0
    head_tile_bytes: int = 0
    softmax_bytes: float = 4.0
    positions: Positions = "all"
    double_quantised: bool = False
    activation_slack: float = 0.0
    waiting_slack: float = 0.0
    churn_layers: float = 0.0
    returns_blocks: bool = True
    slack: float = 0.0
    overhead_bytes: int = 0
    unpacked_bytes: float = 0.0
    measured: tuple[str, ...] = ("lora", "full", "sft")
    error_share: float = 0.25


_BF16_MASTERS = Trained(weight=2, master=4, moments=8, gradient=2, accumulated=4)
"""`training.optim.MasterAdamW`: bf16 copies in the model, fp32 masters, moments and gradient sums."""

OURS = EngineProfile(
    name="luthier",
    trained=_BF16_MASTERS,
    adapter=_BF16_MASTERS,
    norm_frozen=2,  # accel.rms_norm: x as it came
    norm_trained=6,  # transformers' own norm: x in fp32, and its normed value rounded
    fused_activation=("llama", "qwen2", "qwen3", "mistral"),  # accel.swiglu
    head_tile_bytes=64 * 1024**2,  # accel.head.TILE_BYTES
    positions="supervised",
    error_share=0.15,
)


def ours_on(device: Device) -> EngineProfile:
    """Our engine on a device: the same storage, another runtime around it.

    CUDA: the driver's context and libraries, and fragments of the caching allocator; not measured yet. CPU: the process's
    resident set beyond its imports, in which glibc holds blocks that it cannot hand back (measured; see
    docs/design/memory_plan.md).
    """
    if device == "cuda":
        return replace(OURS, overhead_bytes=600 * 1024**2, slack=0.03)
    if device == "mps":
        return replace(OURS, overhead_bytes=500 * 1024**2, slack=0.05, error_share=0.2)
    return replace(
        OURS,
        softmax_bytes=0.0,  # accel.head.CACHE_BYTES at a time
        overhead_bytes=40 * 1024**2,
        activation_slack=0.33,
        waiting_slack=0.3,
        churn_layers=6.0,
        returns_blocks=False,
        unpacked_bytes=2.7,
        measured=("lora", "full", "qlora", "sft", "dpo"),
        error_share=0.15,
    )


_BF16_TRUE = Trained(weight=2, master=0, moments=4, gradient=2, accumulated=2, step_extra=2)
"""Everything in bf16, torch's own AdamW over lists, which makes one temporary of each parameter's size."""

LITGPT = EngineProfile(
    name="litgpt",
    trained=_BF16_TRUE,
    adapter=_BF16_TRUE,
    norm_frozen=4,  # litgpt/model.py RMSNorm: x.float()
    norm_trained=8,
    shares_inputs=False,
    adapter_input=3,  # litgpt/lora.py: dropout 0.05 on each adapter's input: the dropped copy and its mask
    fused_qkv_adapter=True,
    keeps_frozen_input=True,  # bitsandbytes' 4-bit product kept its input
    qkv_storage=True,
    repeats_kv=True,
    logit_bytes=12,  # bf16-true turns logits into fp32: the copy, its log-softmax, and the gradient
    error_share=0.1,
)

TORCHTUNE = EngineProfile(
    name="torchtune",
    trained=replace(_BF16_TRUE, step_extra=0),  # its recipes use the fused AdamW
    adapter=replace(_BF16_TRUE, step_extra=0),
    norm_frozen=4,
    norm_trained=6,
    repeats_kv=True,  # modules/attention.py expands keys and values
    logit_bytes=10,  # bf16 logits, their fp32 copy and its log-softmax
    double_quantised=True,  # torchao NF4Tensor
    error_share=0.15,
)

TRL = EngineProfile(
    name="trl",
    trained=Trained(weight=4, master=0, moments=8, gradient=4, accumulated=4),
    adapter=Trained(weight=4, master=0, moments=8, gradient=4, accumulated=4),
    norm_frozen=4,
    norm_trained=6,
    shares_inputs=False,
    adapter_input=4,  # PEFT casts x to the adapter's fp32 in every adapted layer
    logit_bytes=0,
    head_tile_bytes=4096 * 32768 * 4,
    positions="supervised",
    error_share=0.25,
)
