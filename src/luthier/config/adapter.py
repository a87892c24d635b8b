"""Which parameters are trained: all of them, or an adapter beside frozen weights. One class per kind, told apart by `kind`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from luthier.config.section import Section

TargetModules = tuple[str, ...] | Literal["all-linear", "attention", "mlp"]
LAYERS = re.compile(r"\d+(-\d*)?(,\d+(-\d*)?)*")


def _layers_as_text(value: object) -> object:
    """``layers: 5`` is a number in YAML, and means layer 5."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and LAYERS.fullmatch(text.replace(" ", "")) is None:
        raise ValueError(f"{text!r} names no layers. Write 3, 0-11, 12- (to the top) or several: 0-3,8,20-")
    return text


Layers = Annotated[str | None, BeforeValidator(_layers_as_text, json_schema_input_type=str | None)]


class LoraSection(Section):
    """Low-rank adapters: W x + (alpha / rank) B A x with W frozen (Hu et al. 2021)."""

    kind: Literal["lora"] = "lora"
    """lora: an adapter beside frozen weights; peft: another method of PEFT's; existing: an adapter that is trained further; none:
    every parameter is trained."""

    rank: int = Field(default=16, ge=1)
    """Rank of A and B."""

    alpha: float = Field(default=32.0, gt=0)
    """Scale: the update counts alpha / rank."""

    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout on the adapter's input. Above 0 rules out fused kernels and exact prefix sharing, and makes steps random."""

    target_modules: TargetModules = "all-linear"
    """Which linear layers are adapted: all-linear (without the head), attention, mlp, or a list of module names (q_proj), of
    patterns of full names (*.self_attn.[qk]_proj) and of these words."""

    layers: Layers = None
    """Which of the model's layers, from 0: 12- (from 12 to the top), 0-11, or several (0-3,20-). None: all."""

    rank_pattern: dict[str, int] = Field(default_factory=dict[str, int])
    """Other ranks for some modules, named as in target_modules: {down_proj: 32}."""

    alpha_pattern: dict[str, float] = Field(default_factory=dict[str, float])
    """Other alphas for some modules, named as in target_modules."""

    rslora: bool = False
    """Scale by alpha / √rank instead of alpha / rank (rsLoRA, Kalajdzievski 2023): high ranks learn as fast as low ones."""

    dora: bool = False
    """Train the length of each weight column apart from its direction (DoRA, Liu et al. 2024). Slower; no fused kernels."""

    init: Literal["kaiming", "gaussian", "orthogonal", "pissa", "loftq"] = "kaiming"
    """Where A and B begin. kaiming, gaussian: B = 0. orthogonal: both random, and B A = 0. pissa: the weight's largest singular
    vectors, taken out of the weight (Meng et al. 2024). loftq: what quantisation lost (Li et al. 2023); needs precision.base."""

    loraplus_ratio: float = Field(default=1.0, ge=1.0)
    """Learning rate of B as a multiple of that of A (LoRA+, Hayou et al. 2024, who advise 16). 1: the same."""

    trainable_tokens: tuple[str, ...] = ()
    """Tokens whose rows of the embedding (and of an untied head) are trained too."""

    merge_first: str | None = None
    """An earlier adapter (its run or its folder) that is merged into the base first; the new one is trained on top, and the
    result holds both."""

    @field_validator("rank_pattern", "alpha_pattern")
    @classmethod
    def _above_zero(cls, value: dict[str, float]) -> dict[str, float]:
        for name, number in value.items():
            if number <= 0:
                raise ValueError(f"{name}: must be above 0, found {number}.")
        return value


class PeftSection(Section):
    """Any other method of PEFT's, by its name and the fields of its config."""

    kind: Literal["peft"]
    """peft: another method of PEFT's."""

    method: str
    """Name of the method in PEFT: ia3, loha, lokr, oft, boft, vera, hra, ln_tuning, fourierft, …"""

    target_modules: TargetModules | None = None
    """Which modules are adapted, as for lora. None: PEFT's choice for the model's family."""

    layers: Layers = None
    """Which of the model's layers, as for lora. Needs target_modules."""

    fields: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Fields of the method's config class in PEFT, e.g. {feedforward_modules: [down_proj]} for ia3."""


class ExistingSection(Section):
    """An adapter that was trained before is trained further; its own config says what it adapts."""

    kind: Literal["existing"]
    """existing: an adapter that is trained further."""

    source: str
    """The run that it came from, or its folder."""

    loraplus_ratio: float = Field(default=1.0, ge=1.0)
    """Learning rate of B as a multiple of that of A (LoRA+). 1: the same."""


class FullSection(Section):
    """The model's own parameters are trained: all, or all but some."""

    kind: Literal["none"]
    """none: no adapter, every parameter is trained."""

    freeze: tuple[str, ...] = ()
    """Names of parameters that are not trained, or patterns of full names: *embed_tokens*, model.layers.[0-5].*"""


AdapterSection = Annotated[LoraSection | PeftSection | ExistingSection | FullSection, Field(discriminator="kind")]
