"""Answers many requests with one model: rows come and go while others are in progress, in one flat sequence without padding.

How rows share the steps is in `running.py`; this file says which requests make sense, who answers them, and how many fit.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from luthier.accel.attention import attention_as
from luthier.errors import InputError, ModelError
from luthier.generate import slot_attention
from luthier.generate.adapter_mix import AdapterMix, can_mix, mixing
from luthier.generate.protocol import Completion, Request
from luthier.generate.running import Row, RunningBatch
from luthier.generate.slots import SlotMemory

MAX_CACHE_BYTES = 4 * 1024**3
# Layer kinds whose state is keys and values per token. Recurrent states cannot be cut or taken over by another row.
KNOWN_LAYER_KINDS = {"full_attention", "sliding_attention"}


class BatchedEngine:
    """The engine for evaluation, checks and chat.

    Args:
        model: A causal language model of transformers, or a PeftModel around one.
        batch_size: Rows in progress at once, at most.
        max_cache_bytes: Keys and values of all rows; fewer rows are in progress at once where they would need more. One row
            always is.
        share_prefix: Off only to compare: computes every prompt whole.

    A request with ``use_adapter=False`` is answered with the PeftModel's adapters disabled, others with the adapter they name
    or the active one; LoRA adapters and the base are answered together. A model that is not a PeftModel has nothing to disable
    and answers with its weights as they are: for a fully fine-tuned model "base" is another model, to be loaded by the
    caller.

    The model is used in eval mode with attention over slots, and left as it was found.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        *,
        batch_size: int = 32,
        max_cache_bytes: int = MAX_CACHE_BYTES,
        share_prefix: bool = True,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be at least 1.")
        self._model = model
        self._batch_size = batch_size
        self._max_cache_bytes = max_cache_bytes
        self._share_prefix = share_prefix

    def generate(
        self, requests: Sequence[Request], on_progress: Callable[[int], None] | None = None
    ) -> list[Completion]:
        """Answer all, in the order of the requests.

        Answers end at a stop token, at `max_new_tokens`, or where the model's positions end.

        Raises:
            InputError: A request that makes no sense (empty prompt, bad sampling settings).
            ModelError: A prompt longer than the model's positions, a model or adapter of a kind that cannot be used
                here, or one that computes NaN.
        """
        context = context_tokens(self._model)
        for number, request in enumerate(requests):
            refuse_bad_request(number, request, context)
        if not requests:
            return []
        refuse_unsupported(self._model, any(r.use_adapter for r in requests))
        rows = [Row(i, request, context, voice_of(self._model, request)) for i, request in enumerate(requests)]
        # Longest first: what does not fit into memory fails at once, and rows in progress are of about one length. Equal
        # lengths in order of their tokens, so that prompts with a common beginning come together.
        rows.sort(key=lambda row: (len(row.request.prompt_ids), row.request.prompt_ids), reverse=True)
        with torch.inference_mode(), as_for_inference(self._model), attention_as(self._model, slot_attention.NAME):
            for chosen, voice in _together(self._model, rows):
                with voice as mix:
                    for num_finished in self._answer(chosen, mix):
                        if on_progress is not None and num_finished:
                            on_progress(num_finished)
        rows.sort(key=lambda row: row.index)
        return [row.completion() for row in rows]

    def stream(self, request: Request) -> Generator[int, None, None]:
        """The tokens of one answer as they are chosen; the same as `generate` gives.

        To stop early, close the iterator (`contextlib.closing`). Until it is used up or closed, the model stays as the answer
        needs it (evaluation mode, adapters on or off): answer one request at a time.

        Raises:
            InputError, ModelError: As `generate`.
        """
        context = context_tokens(self._model)
        refuse_bad_request(0, request, context)
        refuse_unsupported(self._model, request.use_adapter)
        row = Row(0, request, context, voice_of(self._model, request))
        with (
            as_for_inference(self._model),
            attention_as(self._model, slot_attention.NAME),
            one_voice(self._model, row.voice),
        ):
            steps = self._answer([row], None)
            while row.is_running:
                with torch.inference_mode():  # around the step alone: what happens between tokens is the caller's
                    next(steps)
                yield row.token_ids[-1]

    def _answer(self, rows: Sequence[Row], mix: AdapterMix | None) -> Iterator[int]:
        """One step per iteration; yields how many rows it finished."""
        capacity = max(len(row.request.prompt_ids) + row.max_new_tokens - 1 for row in rows)
        memory = SlotMemory(min(len(rows), self._num_slots(capacity)), capacity)
        batch = RunningBatch(self._model, memory, share_prefix=self._share_prefix)
        batch.waiting.extend(rows)
        while batch.has_rows:
            yield sum(not row.is_running for row in batch.step(mix))

    def _num_slots(self, capacity: int) -> int:
        return num_slots(self._model, self._batch_size, capacity, self._max_cache_bytes)


def context_tokens(model: PreTrainedModel | PeftModel) -> int | None:
    """Number of positions the model knows; None where its configuration names none."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def num_slots(model: PreTrainedModel | PeftModel, wanted: int, capacity: int, max_cache_bytes: int) -> int:
    """How many of the rows wanted at once have room for keys and values of `capacity` tokens; at least one."""
    return max(1, min(wanted, max_cache_bytes // (_cache_bytes_per_token(model) * capacity)))


def _cache_bytes_per_token(model: PreTrainedModel | PeftModel) -> int:
    config = model.config.get_text_config()
    kv_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * kv_heads * width * model.dtype.itemsize


def refuse_bad_request(number: int, request: Request, context: int | None) -> None:
    """Raise for a request that makes no sense for a model with so many positions; `number` counts from 0."""
    where = f"Request {number + 1}"
    if not request.prompt_ids:
        raise InputError(f"{where} has an empty prompt. Give it at least one token, for instance the model's BOS.")
    if request.max_new_tokens < 1:
        raise InputError(f"{where} asks for {request.max_new_tokens} new tokens; the least is 1.")
    if request.temperature < 0:
        raise InputError(f"{where} has temperature {request.temperature}; it must be 0 (greedy) or above.")
    if not 0 < request.top_p <= 1:
        raise InputError(f"{where} has top_p {request.top_p}; it must be above 0 and at most 1.")
    if context is not None and len(request.prompt_ids) > context:
        raise ModelError(
            f"{where}: its prompt has {len(request.prompt_ids)} tokens, the model has {context} positions. "
            "Shorten the prompt (fewer examples, a shorter document) or use a model with a longer context."
        )


def refuse_unsupported(model: PreTrainedModel | PeftModel, use_adapter: bool) -> None:
    """Raise for layers, adapters or states of adapters that slots cannot serve."""
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    if unknown := kinds - KNOWN_LAYER_KINDS:
        raise ModelError(
            f"Batched generation knows layers of kind {', '.join(sorted(KNOWN_LAYER_KINDS))}; "
            f"this model has {', '.join(sorted(unknown))}. Generate with the model's own `generate` instead."
        )
    if not isinstance(model, PeftModel) or not use_adapter:
        return
    if model.active_peft_config.is_prompt_learning:
        raise ModelError(
            f"Batched generation cannot use adapters of kind {model.active_peft_config.peft_type}, which put virtual tokens "
            "before the prompt. Generate with the model's own `generate` instead."
        )
    if (enabled := model.get_model_status().enabled) is not True:
        found = "disabled" if enabled is False else "enabled in some layers only"
        raise ModelError(f"A request wants the adapter, but the model's adapters are {found}. Enable them first.")


@contextmanager
def as_for_inference(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards every module is in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def voice_of(model: nn.Module, request: Request) -> str | None:
    """The adapter that answers; None for the model without one."""
    if not isinstance(model, PeftModel) or not request.use_adapter:
        if request.adapter is not None:
            raise InputError(f"A request names the adapter '{request.adapter}', but is to be answered without one.")
        return None
    name = request.adapter or model.active_adapter
    if name not in model.peft_config:
        raise InputError(f"There is no adapter '{name}'; the model has {', '.join(model.peft_config)}.")
    return name


def _together(
    model: nn.Module, rows: Sequence[Row]
) -> Iterator[tuple[list[Row], AbstractContextManager[AdapterMix | None]]]:
    """Rows that can be in progress at once: all where adapters can be mixed, else those of one voice after the other."""
    voices = sorted({row.voice for row in rows}, key=lambda voice: voice or "")
    if len(voices) > 1 and can_mix(model):
        yield list(rows), mixing(model)
    else:
        for voice in voices:
            yield [row for row in rows if row.voice == voice], one_voice(model, voice)


@contextmanager
def one_voice(model: nn.Module, voice: str | None) -> Iterator[None]:
    """The model with one of its adapters, or with none; afterwards it is as it was."""
    if not isinstance(model, PeftModel) or voice == model.active_adapter:
        yield
        return
    # PEFT marks adapters as trainable when it enables them again, whatever they were before.
    trainable = {parameter: parameter.requires_grad for parameter in model.parameters()}
    active: Any = model.active_adapter
    try:
        if voice is None:
            with model.disable_adapter():
                yield
        else:
            model.set_adapter(voice)
            yield
    finally:
        model.set_adapter(active)
        for parameter, flag in trainable.items():
            parameter.requires_grad_(flag)
