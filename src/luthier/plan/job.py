"""What is trained, in plain numbers: everything that memory and time depend on besides the engine and the card."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from luthier.plan.policy import CheckpointPolicy
from luthier.plan.shapes import Linear, Shape

ParametersKind = Literal["lora", "qlora", "full"]
Objective = Literal["sft", "dpo", "reward", "ppo"]
Compute = Literal["bf16", "fp16", "fp32"]
Attention = Literal["fused", "eager"]
Optimizer = Literal["adamw", "adamw-8bit", "paged-adamw-8bit"]

BUDGET_TOKENS = {"cpu": 4096, "mps": 2048, "cuda": 8192}
"""Micro-batch size where a recipe leaves it open: enough to keep the device's units busy, small enough for its memory."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training.

    Attributes:
        parameters: What is trained: an adapter, an adapter on 4-bit weights, or everything.
        objective: What for; dpo, reward and ppo bring further models or passes along.
        micro_batch_tokens: Tokens that go through the model at once, on one card.
        context: The longest row in tokens.
        num_micro_batches: How many make an optimiser step on one card.
        supervised_share: Share of tokens that are learnt.
        mean_length: Mean row length, on which attention's work depends; None: the context.
        rank: Of the adapter.
        targets: Names of adapted layers; all-linear for all of them.
        attention: fused: no score matrix exists; eager: it does.
        optimizer: 8-bit moments take 2 bytes a parameter; paged ones live in the host's memory.
        policy: What layers keep; None: everything.
        in_backward: The optimiser steps inside the backward pass, so that gradients never exist together.
        generation_rows: Answers generated at once in evaluation; 0: none.
        generation_tokens: Longest prompt and answer there.
        num_shards: Cards over which weights, gradients and optimiser are spread (FSDP); 1: each card has all.
    """

    shape: Shape
    parameters: ParametersKind
    micro_batch_tokens: int
    context: int
    objective: Objective = "sft"
    num_micro_batches: int = 1
    supervised_share: float = 1.0
    mean_length: float | None = None
    rank: int = 16
    targets: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    compute: Compute = "bf16"
    attention: Attention = "fused"
    optimizer: Optimizer = "adamw"
    policy: CheckpointPolicy | None = None
    in_backward: bool = False
    generation_rows: int = 0
    generation_tokens: int = 0
    num_shards: int = 1
    adapts_head: bool = field(default=False)

    def __post_init__(self) -> None:
        assert self.micro_batch_tokens > 0, self.micro_batch_tokens
        assert self.policy is None or len(self.policy.layers) == self.shape.num_layers

    @property
    def kept(self) -> CheckpointPolicy:
        """The policy in force."""
        return self.policy or CheckpointPolicy.keep_all(self.shape.num_layers)

    @property
    def is_full(self) -> bool:
        """Whether every parameter is trained."""
        return self.parameters == "full"

    def adapted(self) -> tuple[Linear, ...]:
        """Linear layers that carry an adapter, of one transformer layer; none in full fine-tuning."""
        if self.is_full:
            return ()
        linears = self.shape.linears()
        return linears if self.targets == "all-linear" else tuple(x for x in linears if x.name in self.targets)

    @property
    def adapter_parameters(self) -> int:
        """Trained parameters of the adapter."""
        per_layer = sum(self.rank * (x.inputs + x.outputs) for x in self.adapted())
        head = self.rank * (self.shape.hidden + self.shape.vocab) if self.adapts_head else 0
        return 0 if self.is_full else self.shape.num_layers * per_layer + head

    @property
    def trained_parameters(self) -> int:
        """Parameters that an optimiser step changes."""
        return self.shape.parameters().total if self.is_full else self.adapter_parameters

    @property
    def quantised_parameters(self) -> int:
        """Parameters stored in 4 bits: linear layers, not embeddings, norms and head."""
        groups = self.shape.parameters()
        return groups.attention + groups.mlp if self.parameters == "qlora" else 0
