"""Answers many requests with one model: rows come and go while others are in progress, in one flat sequence without padding.

A row has a slot in `SlotMemory`. In each step either every row in progress gets its next token, or prompts are computed for
slots that have become free. What a prompt has in common with one that was computed before is copied. Nothing of this
changes an answer: the tests hold it against `model.generate`, one row at a time.

Shape letters: R rows, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from luthier.accel.attention import attention_as
from luthier.errors import InputError, ModelError
from luthier.generate import slot_attention
from luthier.generate.adapter_mix import AdapterMix, can_mix, mixing
from luthier.generate.protocol import Completion, FinishReason, Request
from luthier.generate.sampling import SamplingSettings, choose_tokens
from luthier.generate.slots import MIN_SHARED_TOKENS, Known, Piece, SlotMemory, Step, common_length

PROMPT_TOKENS_AT_ONCE = 4096
"""New prompt tokens of one step, but for a single prompt that is longer."""
REFILL_SHARE = 0.25
"""Prompts are computed when this share of the slots is free: for each single one the rows in progress would wait too often."""
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
        context = _context_tokens(self._model)
        for number, request in enumerate(requests):
            _refuse_bad_request(number, request, context)
        if not requests:
            return []
        _refuse_unsupported(self._model, any(r.use_adapter for r in requests))
        rows = [_Row(i, request, context, _voice(self._model, request)) for i, request in enumerate(requests)]
        # Longest first: what does not fit into memory fails at once, and rows in progress are of about one length. Equal
        # lengths in order of their tokens, so that prompts with a common beginning come together.
        rows.sort(key=lambda row: (len(row.request.prompt_ids), row.request.prompt_ids), reverse=True)
        with torch.inference_mode(), _as_for_inference(self._model), attention_as(self._model, slot_attention.NAME):
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
        context = _context_tokens(self._model)
        _refuse_bad_request(0, request, context)
        _refuse_unsupported(self._model, request.use_adapter)
        row = _Row(0, request, context, _voice(self._model, request))
        with (
            _as_for_inference(self._model),
            attention_as(self._model, slot_attention.NAME),
            _one_voice(self._model, row.voice),
        ):
            steps = self._answer([row], None)
            while row.is_running:
                with torch.inference_mode():  # around the step alone: what happens between tokens is the caller's
                    next(steps)
                yield row.token_ids[-1]

    def _answer(self, rows: Sequence[_Row], mix: AdapterMix | None) -> Iterator[int]:
        """One step per iteration; yields how many rows it finished."""
        capacity = max(len(row.request.prompt_ids) + row.max_new_tokens - 1 for row in rows)
        memory = SlotMemory(min(len(rows), self._num_slots(capacity)), capacity)
        waiting, active = deque(rows), list[_Row]()  # the row in slot n is active[n]
        while waiting or active:
            num_free = memory.num_slots - len(active)
            if waiting and num_free >= min(len(waiting), max(1, REFILL_SHARE * memory.num_slots)):
                stepping = self._admit(waiting, memory, len(active))
                active += stepping
            else:
                stepping = active
            self._step(stepping, memory, active.index(stepping[0]), mix)
            yield self._release(active, memory)

    def _num_slots(self, capacity: int) -> int:
        per_token = _cache_bytes_per_token(self._model)
        return max(1, min(self._batch_size, self._max_cache_bytes // (per_token * capacity)))

    def _admit(self, waiting: deque[_Row], memory: SlotMemory, first_slot: int) -> list[_Row]:
        """Give free slots to waiting rows, in order.

        A row whose prompt begins like one that is admitted now stays for the next step, when it can take that one's entries.
        """
        admitted: list[_Row] = []
        later: list[_Row] = []
        num_new = 0
        while waiting and first_slot + len(admitted) < memory.num_slots:
            row = waiting.popleft()
            own = row.request.prompt_ids[
                :-1
            ]  # the last token is computed in any case: it predicts the first of the answer
            known = memory.longest_known(own, row.voice) if self._share_prefix else Known(0, 0)
            if known.length < MIN_SHARED_TOKENS:
                known = Known(0, 0)
            alike = [other.request.prompt_ids for other in admitted if other.voice == row.voice]
            beside = max((common_length(own, ids) for ids in alike), default=0)
            if self._share_prefix and beside >= known.length + MIN_SHARED_TOKENS:
                later.append(row)
                continue
            if admitted and num_new + len(own) + 1 - known.length > PROMPT_TOKENS_AT_ONCE:
                later.append(row)
                break
            num_new += len(own) + 1 - known.length
            memory.take_over(known, first_slot + len(admitted))
            memory.voices[first_slot + len(admitted)] = row.voice
            admitted.append(row)
        waiting.extendleft(reversed(later))
        return admitted

    def _step(self, rows: Sequence[_Row], memory: SlotMemory, first_slot: int, mix: AdapterMix | None) -> None:
        """Compute what the rows' slots do not hold yet, and choose each row's next token."""
        pieces, ids = [], list[int]()
        for slot, row in enumerate(rows, start=first_slot):
            past = len(memory.token_ids[slot])
            new = row.all_ids(past)
            pieces.append(Piece(slot, len(ids), len(new), past))
            ids += new
            memory.token_ids[slot] += new
        if mix is not None:
            mix.tokens = _tokens_by_adapter(rows, pieces, self._model.device)
        logits_RV = self._forward(ids, Step(memory, pieces))
        choice = choose_tokens(logits_RV, [row.sampling for row in rows])
        for row, token, logprob in zip(rows, choice.ids_R.tolist(), choice.logprobs_R.tolist(), strict=True):
            row.append(token, logprob)

    def _release(self, active: list[_Row], memory: SlotMemory) -> int:
        """Take out rows that have ended; the last row moves into the gap, so that slots in use stay together."""
        num_before = len(active)
        for slot in range(num_before - 1, -1, -1):
            if active[slot].is_running:
                continue
            last = len(active) - 1
            if slot != last:
                memory.take_over(Known(last, len(memory.token_ids[last])), slot)
                active[slot] = active[last]
            active.pop()
        return num_before - len(active)

    def _forward(self, ids: Sequence[int], step: Step) -> Tensor:
        """Logits after each row's last token [R, V]; the slots grow."""
        device = self._model.device
        return self._model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=torch.tensor([step.position_ids()], device=device),
            use_cache=False,
            logits_to_keep=torch.tensor(step.last_tokens(), device=device),
            slots=step,
        ).logits[0]


@dataclass
class _Row:
    """A request on its way to its completion."""

    index: int
    request: Request
    context: int | None
    voice: str | None
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    def __post_init__(self) -> None:
        request = self.request
        generator = torch.Generator().manual_seed(request.seed) if request.temperature > 0 else None
        self.sampling = SamplingSettings(request.temperature, request.top_p, generator)
        self.max_new_tokens = request.max_new_tokens
        if self.context is not None:
            # The last position still predicts a token, which itself needs no position.
            self.max_new_tokens = min(self.max_new_tokens, self.context - len(request.prompt_ids) + 1)

    @property
    def is_running(self) -> bool:
        return self.finish_reason is None

    def all_ids(self, start: int) -> tuple[int, ...]:
        """Prompt and answer so far, from a position on."""
        prompt = self.request.prompt_ids
        answered = max(0, start - len(prompt))
        return (*prompt[start:], *self.token_ids[answered:])

    def append(self, token: int, logprob: float) -> None:
        """Take the next token."""
        if not isfinite(logprob):
            raise ModelError(
                f"The model computed no number (log-probability {logprob}) for token {len(self.token_ids) + 1} of an answer. "
                "Its weights hold NaN or overflow in this precision: check the checkpoint, or use bf16 or fp32 instead of fp16."
            )
        self.token_ids.append(token)
        self.logprobs.append(logprob)
        if token in self.request.stop_ids:
            self.finish_reason = "stop"
        elif len(self.token_ids) >= self.max_new_tokens:
            self.finish_reason = "length"

    def completion(self) -> Completion:
        assert self.finish_reason is not None, f"request {self.index} was left unanswered"
        return Completion(tuple(self.token_ids), tuple(self.logprobs), self.finish_reason)


def _context_tokens(model: PreTrainedModel | PeftModel) -> int | None:
    """Number of positions the model knows; None where its configuration names none."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def _cache_bytes_per_token(model: PreTrainedModel | PeftModel) -> int:
    config = model.config.get_text_config()
    kv_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * kv_heads * width * model.dtype.itemsize


def _refuse_bad_request(number: int, request: Request, context: int | None) -> None:
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


def _refuse_unsupported(model: PreTrainedModel | PeftModel, use_adapter: bool) -> None:
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
def _as_for_inference(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards every module is in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _voice(model: nn.Module, request: Request) -> str | None:
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
    model: nn.Module, rows: Sequence[_Row]
) -> Iterator[tuple[list[_Row], AbstractContextManager[AdapterMix | None]]]:
    """Rows that can be in progress at once: all where adapters can be mixed, else those of one voice after the other."""
    voices = sorted({row.voice for row in rows}, key=lambda voice: voice or "")
    if len(voices) > 1 and can_mix(model):
        yield list(rows), mixing(model)
    else:
        for voice in voices:
            yield [row for row in rows if row.voice == voice], _one_voice(model, voice)


def _tokens_by_adapter(rows: Sequence[_Row], pieces: Sequence[Piece], device: torch.device) -> dict[str, Tensor]:
    tokens: dict[str, list[int]] = {}
    for row, piece in zip(rows, pieces, strict=True):
        if row.voice is not None:
            tokens.setdefault(row.voice, []).extend(range(piece.start, piece.start + piece.length))
    return {name: torch.tensor(places, device=device) for name, places in tokens.items()}


@contextmanager
def _one_voice(model: nn.Module, voice: str | None) -> Iterator[None]:
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
