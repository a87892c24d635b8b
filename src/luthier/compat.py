"""The only file that may look at library versions. Each function hides one difference between supported versions."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def cpu_has_fast_bf16() -> bool:
    """Whether oneDNN multiplies bf16 on this CPU itself; elsewhere torch does it number by number, slower than fp32."""
    import torch

    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # absent in a torch without oneDNN
    return supported is not None and bool(supported())


def has_varlen_attention() -> bool:
    """Whether this torch ships `torch.nn.attention.varlen` (from 2.10 on)."""
    try:
        from torch.nn.attention import varlen
    except ImportError:
        return False
    return callable(getattr(varlen, "varlen_attn", None))


def varlen_attention(
    q_THD: Tensor,
    k_TKD: Tensor,
    v_TKD: Tensor,
    cu_q: Tensor,
    cu_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float,
    window: int | None,
) -> Tensor:
    """Causal (lower-right) attention over cumulative lengths, by stock torch.

    Up to 2.11 `varlen_attn` takes ``is_causal`` and no grouped heads; later ``window_size`` and ``enable_gqa``.
    """
    from torch.nn.attention.varlen import varlen_attn

    parameters = inspect.signature(varlen_attn).parameters
    options: dict[str, Any] = {"scale": scale}
    if "window_size" in parameters:
        options["window_size"] = (-1 if window is None else window - 1, 0)
    elif window is None or max_k <= window:
        options["is_causal"] = True
    else:
        raise RuntimeError("torch before 2.12 has no sliding window in varlen attention; use model.attention: sdpa")
    if k_TKD.shape[1] != q_THD.shape[1]:
        if "enable_gqa" in parameters:
            options["enable_gqa"] = True
        else:
            groups = q_THD.shape[1] // k_TKD.shape[1]
            k_TKD, v_TKD = k_TKD.repeat_interleave(groups, dim=1), v_TKD.repeat_interleave(groups, dim=1)
    out = varlen_attn(q_THD, k_TKD, v_TKD, cu_q, cu_k, max_q, max_k, **options)
    return out[0] if isinstance(out, tuple) else out


def compile_chat_template(text: str) -> Any:
    """A chat template as transformers compiles it, in an environment of its own; None where this version hides how.

    `apply_chat_template` is the public way, but it copies and checks all messages each time, which takes longer than the
    template itself.
    """
    from transformers.utils import chat_template_utils

    compile_template = getattr(chat_template_utils, "_compile_jinja_template", None)
    if compile_template is None:
        return None
    shared = compile_template(text)  # what is set on its environment would be seen by others: take a copy
    return shared.environment.overlay().from_string(text)
