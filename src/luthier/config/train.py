"""How long, how fast and on what the training runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from luthier.config.section import Section


class TrainSection(Section):
    """The optimisation."""

    learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate. None: 2e-4 for adapters, 2e-5 for full fine-tuning; of preferences 5e-5 and 1e-6."""

    epochs: float = Field(default=3.0, gt=0)
    """Passes over the training rows; ignored when `max_steps` is set."""

    max_steps: int | None = Field(default=None, ge=1)
    """Optimiser steps in all; None: as many as `epochs` takes."""

    batch_size: int = Field(default=16, ge=1)
    """Rows per optimiser step over all devices (the effective batch)."""

    micro_batch_tokens: int | None = Field(default=None, ge=8)
    """Tokens that go through the model at once; rows are packed into this budget. None: as many as the device uses well and the
    memory plan lets in; fewer when memory runs out."""

    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""

    warmup_fraction: float = Field(default=0.05, ge=0.0, lt=1.0)
    """Share of all steps in which the learning rate rises from 0."""

    weight_decay: float = Field(default=0.01, ge=0.0)
    """Decoupled weight decay (AdamW) on matrices; norms and biases are not decayed."""

    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    """AdamW: decay of the first moment."""

    beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    """AdamW: decay of the second moment."""

    epsilon: float = Field(default=1e-8, gt=0.0)
    """AdamW: added to the denominator."""

    optimizer: Literal["adamw", "adamw-8bit", "paged-adamw-8bit"] = "adamw"
    """adamw: fp32 moments, 8 bytes a trained parameter. adamw-8bit: 2 bytes, by bitsandbytes (extra qlora), on CUDA cards and
    CPUs; paged: they move to the host when the card is full (CUDA only)."""

    layer_rate_decay: float = Field(default=1.0, gt=0.0, le=1.0)
    """Factor on the learning rate from each layer to the one below: 0.9 lets low layers, which know the language, change less."""

    neftune_alpha: float = Field(default=0.0, ge=0.0)
    """Noise on the embeddings while training (NEFTune, Jain et al. 2023): for objectives sft and pretrain; 5 is common, 0 is
    none. Rules out sharing prefixes between examples."""

    max_grad_norm: float = Field(default=1.0, ge=0.0)
    """Gradients are scaled down to this norm; 0 switches clipping off."""

    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """Compute activations again in the backward pass: less memory, up to a third more compute. auto: only in as many layers, and
    only their MLPs where that is enough, as the memory plan asks for; true: in all layers; false: never."""

    speedups: tuple[Literal["lora-linear", "rms-norm", "swiglu", "scored-rows"], ...] | Literal["auto"] = "auto"
    """Faster equals of parts of the model: auto puts in all that apply; a list is taken at its word; [] leaves all out."""

    evaluate_every: int | None = Field(default=None, ge=1)
    """Steps between validations (each also saves a checkpoint). None: once per epoch, at least five times a run. The last step is
    always validated; one that would lie less than half of this before it is left out."""

    early_stopping_patience: int | None = Field(default=None, ge=1)
    """Stop after this many validations without a lower validation loss. None: train to the last step."""

    checkpoint_every: int | None = Field(default=None, ge=1)
    """Steps between checkpoints. None: at each validation."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: cuda, else mps, else cpu."""

    num_threads: int | None = Field(default=None, ge=1)
    """CPU threads; None leaves torch's choice. Part of what makes a CPU run repeat bit for bit."""

    seed: int = Field(default=0, ge=0)
    """Seeds adapter init, data order and dropout."""
