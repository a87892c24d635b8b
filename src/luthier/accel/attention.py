"""Attention that honours the segment table: documents packed into one sequence never see each other.

Registered with transformers under the names in `ROUTES`; the table travels as the keyword ``segments`` through the model's
forward, so it is there again when gradient checkpointing recomputes a layer. A model that does not pass it on is refused.

Routes, by what runs inside a segment:
    luthier_sdpa              scaled_dot_product_attention per segment (CPU, MPS, CUDA cards below sm80); the exact reference
                              of the others
    luthier_varlen            stock torch's flash attention over all segments at once (CUDA from sm80 on)
    luthier_flash_attention_2 / _3   the same through the flash-attn packages
    luthier_eager             explicit softmax per segment: the slow route for logit soft-capping (Gemma 2)

Shape letters: B = 1, H query heads, K key/value heads, T tokens, D head width, Q and C query and context lengths of a segment.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from luthier import compat
from luthier.accel.cpu_attention import SegmentAttention
from luthier.data.batch import SegmentTable
from luthier.errors import MissingExtraError, ModelError

Route = Literal["sdpa", "varlen", "flash_attention_2", "flash_attention_3", "eager"]
ROUTES: tuple[Route, ...] = ("sdpa", "varlen", "flash_attention_2", "flash_attention_3", "eager")


def _context(parts: Sequence[Tensor], table: SegmentTable, index: int) -> Tensor:
    """Keys or values that a segment sees: its ancestors', root first, then its own."""
    ancestors = table.ancestors(index)
    return torch.cat([*(parts[i] for i in ancestors), parts[index]], dim=2) if ancestors else parts[index]


def lower_right_mask(num_queries: int, num_keys: int, window: int | None, device: torch.device) -> Tensor:
    """True where query q may see key k: the queries are the *last* of the keys, and see at most `window` tokens.

    SDPA's own `is_causal` is upper-left aligned when lengths differ, which would be wrong for a continued segment.
    """
    position_Q1 = torch.arange(num_keys - num_queries, num_keys, device=device)[:, None]
    position_1C = torch.arange(num_keys, device=device)[None, :]
    mask_QC = position_1C <= position_Q1
    return mask_QC if window is None else mask_QC & (position_1C > position_Q1 - window)


def sdpa_segment(q: Tensor, k: Tensor, v: Tensor, *, scale: float, dropout: float, window: int | None) -> Tensor:
    """One segment [1, H, Q, D] over its context [1, K, C, D], of which its queries are the last."""
    num_queries, num_keys = q.shape[2], k.shape[2]
    gqa = q.shape[1] != k.shape[1]
    if num_queries == num_keys and (window is None or num_keys <= window):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=scale, enable_gqa=gqa)
    mask_QC = lower_right_mask(num_queries, num_keys, window, q.device)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask_QC, dropout_p=dropout, scale=scale, enable_gqa=gqa)


def eager_segment(
    q: Tensor, k: Tensor, v: Tensor, *, scale: float, dropout: float, window: int | None, softcap: float | None
) -> Tensor:
    """The same by explicit softmax, with soft-capped logits."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    logits_BHQC = q @ k.transpose(2, 3) * scale
    if softcap is not None:
        logits_BHQC = torch.tanh(logits_BHQC / softcap) * softcap
    mask_QC = lower_right_mask(q.shape[2], k.shape[2], window, q.device)
    logits_BHQC = logits_BHQC.masked_fill(~mask_QC, torch.finfo(logits_BHQC.dtype).min)
    shares_BHQC = F.dropout(logits_BHQC.softmax(dim=-1, dtype=torch.float32).to(q.dtype), dropout)
    return shares_BHQC @ v


def _per_segment(
    segments: SegmentTable,
    q_BHTD: Tensor,
    k_BKTD: Tensor,
    v_BKTD: Tensor,
    attend: Callable[..., Tensor],
    **options: Any,
) -> Tensor:
    # split, not slices: the backward pass of a slice fills a tensor of the whole size, once per segment.
    q_parts, k_parts, v_parts = (x.split(segments.lengths, dim=2) for x in (q_BHTD, k_BKTD, v_BKTD))
    outputs = [
        attend(q, _context(k_parts, segments, index), _context(v_parts, segments, index), **options)
        for index, q in enumerate(q_parts)
    ]
    return torch.cat(outputs, dim=2)


def sees_all(segments: SegmentTable, window: int | None) -> bool:
    """Whether no token of the batch has more in front of it than the sliding window holds."""
    return window is None or segments.longest_document_tokens <= window


def _cumulative(lengths: list[int], device: torch.device) -> Tensor:
    ends = torch.tensor([0, *lengths], dtype=torch.int32)
    return ends.cumsum(0, dtype=torch.int32).to(device, non_blocking=True)


def _all_segments_at_once(
    segments: SegmentTable,
    q_BHTD: Tensor,
    k_BKTD: Tensor,
    v_BKTD: Tensor,
    kernel: Callable[..., Tensor],
    **options: Any,
) -> Tensor:
    """Flash kernels take [tokens, heads, width] and cumulative lengths; they align causality lower-right."""
    q_THD, k_TKD, v_TKD = (x[0].transpose(0, 1) for x in (q_BHTD, k_BKTD, v_BKTD))
    key_lengths = [segments.context_length(i) + n for i, n in enumerate(segments.lengths)]
    if segments.has_parents:
        where = [
            torch.arange(segments.starts[i], segments.starts[i] + segments.lengths[i])
            for index in range(len(segments.starts))
            for i in (*segments.ancestors(index), index)
        ]
        gather = torch.cat(where).to(q_THD.device, non_blocking=True)
        k_TKD, v_TKD = k_TKD.index_select(0, gather), v_TKD.index_select(0, gather)
    out_THD = kernel(
        q_THD,
        k_TKD,
        v_TKD,
        _cumulative(list(segments.lengths), q_THD.device),
        _cumulative(key_lengths, q_THD.device),
        max(segments.lengths),
        max(key_lengths),
        **options,
    )
    return out_THD.transpose(0, 1)[None]


def _flash_attention_kernel(package: str) -> Callable[..., Tensor]:
    try:
        function = importlib.import_module(package).flash_attn_varlen_func
    except ImportError as error:
        raise MissingExtraError("flash-attn", "flash", f"model.attention via {package}") from error

    def kernel(q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int, **o: Any) -> Tensor:
        window = (-1, -1) if o["window"] is None else (o["window"] - 1, 0)
        extra = {"softcap": o["softcap"]} if o["softcap"] else {}
        if package == "flash_attn":
            extra["dropout_p"] = o["dropout"]
        out = function(
            q, k, v, cu_q, cu_k, max_q, max_k, softmax_scale=o["scale"], causal=True, window_size=window, **extra
        )
        return out[0] if isinstance(out, tuple) else out

    return kernel


def _varlen_kernel(
    q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int, **o: Any
) -> Tensor:
    return compat.varlen_attention(q, k, v, cu_q, cu_k, max_q, max_k, scale=o["scale"], window=o["window"])


def _forward(route: Route) -> Callable[..., tuple[Tensor, None]]:
    kernels = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}

    def attention(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,  # noqa: ARG001 - transformers' signature; the segment table says it all
        dropout: float = 0.0,
        scaling: float | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        segments: SegmentTable | None = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        if segments is None:
            raise ModelError(
                f"{type(module).__name__} did not pass the segment table on to its attention, so packed documents would see "
                "each other. This model class cannot be trained packed."
            )
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        options: dict[str, Any] = {"scale": scale, "dropout": dropout, "window": sliding_window}
        if route == "eager":
            out = _per_segment(segments, query, key, value, eager_segment, softcap=softcap, **options)
        elif softcap is not None and route in ("sdpa", "varlen"):
            raise ModelError(f"{route} attention cannot soft-cap its logits. Use model.attention: eager.")
        elif route == "sdpa" and query.device.type == "cpu" and dropout == 0.0 and sees_all(segments, sliding_window):
            out = SegmentAttention.apply(query, key, value, segments, scale)
        elif route == "sdpa":
            out = _per_segment(segments, query, key, value, sdpa_segment, **options)
        else:
            kernel = _varlen_kernel if route == "varlen" else _flash_attention_kernel(kernels[route])
            out = _all_segments_at_once(segments, query, key, value, kernel, softcap=softcap, **options)
        return out.transpose(1, 2), None

    return attention


for _route in ROUTES:
    AttentionInterface.register(f"luthier_{_route}", _forward(_route))
    AttentionMaskInterface.register(f"luthier_{_route}", lambda *_, **__: None)


def choose_route(choice: str, config: Any, device: torch.device) -> tuple[Route, str]:
    """The route for `model.attention`, with the reason.

    Raises:
        ModelError: The choice cannot work for this model or device; says which can.
    """
    softcap = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    flash_ready = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if choice == "auto":
        if softcap is not None:
            return "eager", "the model soft-caps attention logits"
        if flash_ready and compat.has_varlen_attention():
            return "varlen", "CUDA from sm80 on"
        return "sdpa", f"{device.type} runs attention per document"
    if choice == "varlen" and not (flash_ready and compat.has_varlen_attention()):
        raise ModelError(
            f"model.attention: varlen needs a CUDA card from sm80 on, the device is {device}. Use auto or sdpa."
        )
    if choice.startswith("flash_attention"):
        if not flash_ready:
            raise ModelError(
                f"model.attention: {choice} needs a CUDA card from sm80 on, the device is {device}. Use auto or sdpa."
            )
        _flash_attention_kernel("flash_attn" if choice == "flash_attention_2" else "flash_attn_interface")
    if softcap is not None and choice in ("sdpa", "varlen"):
        raise ModelError(f"This model soft-caps attention logits, which {choice} cannot. Use model.attention: eager.")
    return choice, "asked for in the recipe"  # type: ignore[return-value]  # the recipe's type allows no other value


def base_model(model: nn.Module) -> PreTrainedModel:
    """The transformers model under a PEFT wrapper, or the model itself."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(inner, PreTrainedModel), type(inner)
    return inner


def use_route(model: nn.Module, route: Route) -> None:
    """Let the model's attention take `route` from now on."""
    _set_implementation(base_model(model), f"luthier_{route}")


def _set_implementation(model: PreTrainedModel, name: str | None) -> None:
    # Set on the config, not through set_attn_implementation: that one checks for packages and hub kernels by name.
    model.config._attn_implementation = name
    text_config = model.config.get_text_config()
    if text_config is not model.config:
        text_config._attn_implementation = name


@contextmanager
def attention_as(model: nn.Module, name: str) -> Iterator[None]:
    """Inside, the model's attention is the one that is registered with transformers under this name."""
    inner = base_model(model)
    before = inner.config._attn_implementation
    _set_implementation(inner, name)
    try:
        yield
    finally:
        _set_implementation(inner, before)


@contextmanager
def plain_attention(model: nn.Module) -> Iterator[None]:
    """Inside, attention runs as transformers ships it (padded, with masks and caches), for generation and references."""
    softcap = getattr(base_model(model).config.get_text_config(), "attn_logit_softcapping", None)
    with attention_as(model, "sdpa" if softcap is None else "eager"):
        yield
