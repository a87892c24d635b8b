"""The shape of a causal language model as plain numbers, and its exact parameter counts. Reads raw JSON, never a library.

`read_shape` takes the contents of a config.json. Families differ in a few places only (biases, norms, fused projections), which
`FAMILIES` names; a model type that is not in it is refused with what would be needed. Defaults are those that the family's
config class has for keys that its config files leave out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from luthier.errors import ModelError


class Linear(NamedTuple):
    """A kind of linear layer.

    Attributes:
        name: Its last name part, as adapters address it.
        part: attention or mlp.
        reads: What it reads; layers that read the same share what is kept of it.
        inputs: Width of its input.
        outputs: Width of its output.
        bias: Whether it has one.
    """

    name: str
    part: str
    reads: str
    inputs: int
    outputs: int
    bias: bool = False


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts in place of each MLP: how many there are, how many a token uses, and their inner width."""

    count: int
    per_token: int
    intermediate: int


class Parameters(NamedTuple):
    """Parameter counts by group; a tied head counts once, as embedding."""

    embedding: int
    attention: int
    mlp: int
    router: int
    norms: int
    head: int

    @property
    def total(self) -> int:
        """All."""
        return sum(self)


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything about a model that sizes depend on.

    Attributes:
        family: model_type of its config.
        gated: Whether the MLP multiplies an activated gate with an up projection.
        fused_projections: Whether q, k, v are one layer, and gate and up another (Phi-3).
        norms_per_layer: Norms of the hidden width in a layer (4 where the outputs of attention and MLP are normed too).
        norm_bias: Whether norms are LayerNorms with a bias.
        qk_norm: Whether queries and keys are normed per head.
        parallel: Whether attention and MLP read the same normed input.
        window: Tokens that sliding-window layers see; None where there are none.
        num_window_layers: How many layers slide.
        softcap: Whether attention logits are soft-capped, which no fused kernel does.
    """

    family: str
    num_layers: int
    hidden: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    max_positions: int = 0
    gated: bool = True
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    head_bias: bool = False
    fused_projections: bool = False
    norms_per_layer: int = 2
    norm_bias: bool = False
    qk_norm: bool = False
    parallel: bool = False
    experts: Experts | None = None
    window: int | None = None
    num_window_layers: int = 0
    softcap: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def q_width(self) -> int:
        """Width of all query heads."""
        return self.num_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key (or value) heads."""
        return self.num_kv_heads * self.head_dim

    @lru_cache(maxsize=256)  # noqa: B019 - shapes are values, and few
    def linears(self) -> tuple[Linear, ...]:
        """Linear layers of one transformer layer that are modules of their own; those of experts are not."""
        h, q, kv, i = self.hidden, self.q_width, self.kv_width, self.intermediate
        if self.fused_projections:
            attention = [Linear("qkv_proj", "attention", "attention input", h, q + 2 * kv, self.qkv_bias)]
        else:
            widths = (("q_proj", q), ("k_proj", kv), ("v_proj", kv))
            attention = [Linear(n, "attention", "attention input", h, w, self.qkv_bias) for n, w in widths]
        attention.append(Linear("o_proj", "attention", "attention output", q, h, self.output_bias))
        if self.experts is not None:
            return tuple(attention)
        if not self.gated:
            up = [Linear("up_proj", "mlp", "mlp input", h, i, self.mlp_bias)]
        elif self.fused_projections:
            up = [Linear("gate_up_proj", "mlp", "mlp input", h, 2 * i, self.mlp_bias)]
        else:
            up = [Linear(n, "mlp", "mlp input", h, i, self.mlp_bias) for n in ("gate_proj", "up_proj")]
        return (*attention, *up, Linear("down_proj", "mlp", "mlp product", i, h, self.mlp_bias))

    @lru_cache(maxsize=256)  # noqa: B019
    def parameters(self) -> Parameters:
        """Exact counts."""
        attention = mlp = router = 0
        for linear in self.linears():
            count = linear.inputs * linear.outputs + (linear.outputs if linear.bias else 0)
            if linear.part == "attention":
                attention += count
            else:
                mlp += count
        if self.experts is not None:
            mlp = self.experts.count * 3 * self.hidden * self.experts.intermediate
            router = self.experts.count * self.hidden
        norm = self.hidden * (2 if self.norm_bias else 1)
        norms = self.norms_per_layer * norm + (2 * self.head_dim if self.qk_norm else 0)
        head = 0 if self.tied else self.vocab * self.hidden
        return Parameters(
            embedding=self.vocab * self.hidden,
            attention=self.num_layers * attention,
            mlp=self.num_layers * mlp,
            router=self.num_layers * router,
            norms=self.num_layers * norms + norm,
            head=head + (self.vocab if self.head_bias else 0),
        )

    @property
    def active_parameters(self) -> int:
        """Parameters that multiply a token: all but embeddings that are looked up and experts that are not chosen."""
        groups = self.parameters()
        mlp = groups.mlp
        if self.experts is not None:
            mlp = mlp * self.experts.per_token // self.experts.count
        head = groups.embedding if self.tied else groups.head
        return groups.attention + mlp + groups.router + head


_BASE: dict[str, Any] = {"tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {**_BASE, "max_position_embeddings": 2048},
    "mistral": {**_BASE, "num_key_value_heads": 8, "sliding_window": 4096, "max_position_embeddings": 131072},
    "qwen2": {**_BASE, "num_key_value_heads": 32, "qkv_bias": True, "max_position_embeddings": 32768},
    "qwen3": {**_BASE, "num_key_value_heads": 32, "head_dim": 128, "qk_norm": True, "max_position_embeddings": 32768},
    "qwen3_moe": {
        **_BASE, "num_key_value_heads": 4, "qk_norm": True, "max_position_embeddings": 32768, "num_experts": 128,
        "num_experts_per_tok": 8, "moe_intermediate_size": 768,
    },
    "gemma": {
        **_BASE, "tie_word_embeddings": True, "num_key_value_heads": 16, "head_dim": 256, "vocab_size": 256000,
        "max_position_embeddings": 8192,
    },
    "gemma2": {
        **_BASE, "tie_word_embeddings": True, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 256000,
        "max_position_embeddings": 8192, "sliding_window": 4096, "attn_logit_softcapping": 50.0, "norms_per_layer": 4,
        "window_every": 2,
    },
    "gemma3_text": {
        **_BASE, "tie_word_embeddings": True, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
        "vocab_size": 262208, "max_position_embeddings": 131072, "sliding_window": 4096, "norms_per_layer": 4,
        "qk_norm": True, "full_every": 6,
    },
    "phi3": {**_BASE, "fused_projections": True, "vocab_size": 32064, "max_position_embeddings": 4096},
}  # fmt: skip
"""By model_type: values for keys that config files of the family leave out, and what only this family has."""

ALIASES = {"gemma3": "gemma3_text", "smollm2": "llama"}
"""Model types whose text part is one of the above."""

_NEEDED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")


def read_shape(config: Mapping[str, Any], where: str = "config.json") -> Shape:
    """A shape from the contents of a config.json; of a model with several parts, the text part's.

    Args:
        config: The parsed file.
        where: For error messages.

    Raises:
        ModelError: The model type is not known, or a number is missing or is no number.
    """
    notes: tuple[str, ...] = ()
    text = config.get("text_config")
    if isinstance(text, Mapping):
        parts = sorted(str(k) for k in config if str(k).endswith("_config") and k != "text_config")
        notes = (f"Only the text part is planned; not counted: {', '.join(parts)}.",) if parts else ()
        config = {"model_type": f"{config.get('model_type')}_text", **text}
    model_type = str(config.get("model_type"))
    family = ALIASES.get(model_type, model_type)
    if family not in FAMILIES:
        raise ModelError(
            f"{where}: model_type is {config.get('model_type')!r}, which the planner does not know. It knows: "
            f"{', '.join([*FAMILIES, *ALIASES])}. What it would need to know: which layers have biases, how many norms a layer "
            "has, whether the MLP is gated and which projections are fused."
        )
    values = {**FAMILIES[family], **{k: v for k, v in config.items() if v is not None}}
    missing = [key for key in _NEEDED if not isinstance(values.get(key), int)]
    if missing:
        raise ModelError(
            f"{where}: {', '.join(missing)} missing (or not whole numbers); without them no size is known."
        )
    return _shape(family, values, notes)


def _shape(family: str, values: Mapping[str, Any], notes: tuple[str, ...]) -> Shape:
    heads, layers = int(values["num_attention_heads"]), int(values["num_hidden_layers"])
    experts = None
    if "num_experts" in values:
        experts = Experts(
            int(values["num_experts"]), int(values["num_experts_per_tok"]), int(values["moe_intermediate_size"])
        )
    window = (
        values.get("sliding_window") if values.get("use_sliding_window", family not in ("qwen2", "qwen3")) else None
    )
    return Shape(
        family=family,
        num_layers=layers,
        hidden=int(values["hidden_size"]),
        num_heads=heads,
        num_kv_heads=int(values.get("num_key_value_heads") or heads),
        head_dim=int(values.get("head_dim") or int(values["hidden_size"]) // heads),
        intermediate=int(values["intermediate_size"]),
        vocab=int(values["vocab_size"]),
        tied=bool(values["tie_word_embeddings"]),
        max_positions=int(values["max_position_embeddings"]),
        qkv_bias=bool(values.get("qkv_bias", values["attention_bias"])),
        output_bias=bool(values["attention_bias"]) and family != "qwen2",
        mlp_bias=bool(values["mlp_bias"]),
        fused_projections=bool(values.get("fused_projections", False)),
        norms_per_layer=int(values.get("norms_per_layer", 2)),
        qk_norm=bool(values.get("qk_norm", False)),
        experts=experts,
        window=int(window) if window else None,
        num_window_layers=_window_layers(values, layers) if window else 0,
        softcap=family == "gemma2" and values.get("attn_logit_softcapping") is not None,
        notes=notes,
    )


def _window_layers(values: Mapping[str, Any], layers: int) -> int:
    kinds = values.get("layer_types")
    if isinstance(kinds, list):
        return sum(kind == "sliding_attention" for kind in kinds)
    if "full_every" in values:
        return layers - layers // int(values.get("sliding_window_pattern", values["full_every"]))
    return (layers + 1) // int(values.get("window_every", 1)) if "window_every" in values else layers
