"""Answers many requests with one model, in left-padded batches of similar length.

A batch computes its common prompt prefix once, gives logits at the last position only, and shrinks as rows finish. Nothing
of this changes an answer: the tests hold it against `model.generate`, one row at a time.

Shape letters: R rows, T slots, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from luthier.accel.attention import plain_attention
from luthier.errors import InputError, ModelError
from luthier.generate.cache import keep_rows, new_cache, spread_prefix
from luthier.generate.prefix import PrefixMemory, shared_tokens
from luthier.generate.protocol import Completion, FinishReason, Request
from luthier.generate.sampling import SamplingSettings, choose_tokens

# Dropping rows copies the cache of those that stay; until a quarter has finished, carrying them along is cheaper.
SHRINK_BELOW_SHARE = 0.75
# Layer kinds whose state is keys and values per slot. Recurrent states cannot be padded, shifted or cut.
KNOWN_LAYER_KINDS = {"full_attention", "sliding_attention"}


class BatchedEngine:
    """The engine for evaluation and checks.

    Args:
        model: A causal language model of transformers, or a PeftModel around one.
        batch_size: Rows that are answered together, at most.
        pad_token_id: Fills rows on the left; the mask hides it.
        share_prefix: Off only to compare: computes every prompt whole.

    A request with ``use_adapter=False`` is answered with the PeftModel's adapters disabled. A model that is not a
    PeftModel has nothing to disable and answers with its weights as they are: for a fully fine-tuned model "base" is
    another model, to be loaded by the caller.

    The model is used in eval mode with transformers' own attention, and left as it was found.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        *,
        batch_size: int = 32,
        pad_token_id: int,
        share_prefix: bool = True,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be at least 1.")
        self._model = model
        self._batch_size = batch_size
        self._pad_token_id = pad_token_id
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
        rows = [_Row(index, request, context) for index, request in enumerate(requests)]
        # Longest first: what does not fit into memory fails at once. Equal lengths in order of their tokens, so that
        # prompts with a common beginning come together.
        rows.sort(key=lambda row: (len(row.request.prompt_ids), row.request.prompt_ids), reverse=True)
        with torch.inference_mode(), _as_for_inference(self._model), plain_attention(self._model):
            for use_adapter in (False, True):
                chosen = [row for row in rows if row.request.use_adapter is use_adapter]
                with _adapters(self._model, use_adapter):
                    self._answer(chosen, on_progress)
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
        row = _Row(0, request, context)
        with (
            _as_for_inference(self._model),
            plain_attention(self._model),
            _adapters(self._model, request.use_adapter),
        ):
            steps = self._answer_batch([row], PrefixMemory(self._append))
            while row.is_running:
                with torch.inference_mode():  # around the step alone: what happens between tokens is the caller's
                    next(steps)
                yield row.token_ids[-1]

    def _answer(self, rows: Sequence[_Row], on_progress: Callable[[int], None] | None) -> None:
        memory = PrefixMemory(self._append)
        for start in range(0, len(rows), self._batch_size):
            for num_finished in self._answer_batch(rows[start : start + self._batch_size], memory):
                if on_progress is not None and num_finished:
                    on_progress(num_finished)

    def _answer_batch(self, rows: Sequence[_Row], memory: PrefixMemory) -> Iterator[int]:
        """One step per iteration; yields how many rows it finished."""
        logits_RV, state = self._prefill([row.request.prompt_ids for row in rows], memory)
        while True:
            choice = choose_tokens(logits_RV, [row.sampling for row in rows])
            running_before = sum(row.is_running for row in rows)
            for row, token, logprob in zip(rows, choice.ids_R.tolist(), choice.logprobs_R.tolist(), strict=True):
                row.append(token, logprob)
            running = [number for number, row in enumerate(rows) if row.is_running]
            yield running_before - len(running)
            if not running:
                return
            ids_R = choice.ids_R
            if len(running) <= SHRINK_BELOW_SHARE * len(rows):
                rows = [rows[number] for number in running]
                ids_R = ids_R[running]
                state.keep(running)
            state.step()
            logits_RV = self._forward(ids_R[:, None], state)

    def _prefill(self, prompts: Sequence[tuple[int, ...]], memory: PrefixMemory) -> tuple[Tensor, _BatchState]:
        """Run the prompts; returns the logits that follow them, and the state to go on from."""
        longest = max(map(len, prompts))
        paddings = [longest - len(prompt) for prompt in prompts]
        num_shared = shared_tokens(prompts) if self._share_prefix else 0
        cache = new_cache()
        if num_shared:
            cache = spread_prefix(memory.recall(prompts[0][:num_shared]), num_shared, paddings)
        padded = [[self._pad_token_id] * pad + list(ids) for pad, ids in zip(paddings, prompts, strict=True)]
        ids_RT = torch.tensor(padded, device=self._model.device)
        slots_T = torch.arange(longest, device=ids_RT.device)
        padding_R1 = torch.tensor(paddings, device=ids_RT.device)[:, None]
        state = _BatchState(
            cache=cache,
            paddings=paddings,
            mask_RT=(slots_T >= padding_R1).long(),
            positions_RT=(slots_T - padding_R1).clamp(min=0)[:, num_shared:],
        )
        return self._forward(ids_RT[:, num_shared:], state), state

    def _forward(self, ids_RT: Tensor, state: _BatchState) -> Tensor:
        """Logits after the last slot [R, V]; the cache grows."""
        return self._model(
            input_ids=ids_RT,
            attention_mask=state.mask_RT,
            position_ids=state.positions_RT,
            past_key_values=state.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]

    def _append(self, ids: tuple[int, ...], cache: Cache) -> None:
        """Run tokens of one unpadded row."""
        before = cache.get_seq_length()
        ids_1T = torch.tensor([ids], device=self._model.device)
        positions_1T = torch.arange(before, before + len(ids), device=ids_1T.device)[None]
        self._forward(ids_1T, _BatchState(cache, [0], ids_1T.new_ones(1, before + len(ids)), positions_1T))


@dataclass
class _BatchState:
    """What a batch carries from step to step: cache, columns of padding, mask of all slots, positions of the newest."""

    cache: Cache
    paddings: list[int]
    mask_RT: Tensor
    positions_RT: Tensor

    def step(self) -> None:
        """Make room for one more token in each row."""
        self.mask_RT = torch.cat([self.mask_RT, self.mask_RT.new_ones(len(self.paddings), 1)], dim=1)
        self.positions_RT = self.positions_RT[:, -1:] + 1

    def keep(self, rows: list[int]) -> None:
        """Drop all other rows, and the columns that are padding in all that stay."""
        empty_columns = min(self.paddings[row] for row in rows)
        keep_rows(self.cache, rows, empty_columns)
        self.paddings = [self.paddings[row] - empty_columns for row in rows]
        self.mask_RT = self.mask_RT[rows, empty_columns:]
        self.positions_RT = self.positions_RT[rows]


@dataclass
class _Row:
    """A request on its way to its completion."""

    index: int
    request: Request
    context: int | None
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

    def append(self, token: int, logprob: float) -> None:
        """Take a token, unless the answer has ended and the row only waits to be dropped."""
        if not self.is_running:
            return
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


@contextmanager
def _adapters(model: nn.Module, enabled: bool) -> Iterator[None]:
    """The model with or without its adapters."""
    if enabled or not isinstance(model, PeftModel):
        yield
        return
    # PEFT marks adapters as trainable when it enables them again, whatever they were before.
    trainable = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        with model.disable_adapter():
            yield
    finally:
        for parameter, flag in trainable.items():
            parameter.requires_grad_(flag)
