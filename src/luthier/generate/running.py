"""Rows in progress on one model: they come and go while others go on, in one flat sequence without padding.

A row has a slot in `SlotMemory`. In each step either every row in progress gets its next token, or prompts are computed for
slots that have become free. What a prompt has in common with one that was computed before is copied. Nothing of this
changes an answer: the tests hold it against `model.generate`, one row at a time.

Shape letters: R rows, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from luthier.errors import ModelError
from luthier.generate.adapter_mix import AdapterMix
from luthier.generate.protocol import Completion, FinishReason, Request
from luthier.generate.sampling import SamplingSettings, choose_tokens
from luthier.generate.slots import MIN_SHARED_TOKENS, Known, Piece, SlotMemory, Step, common_length

PROMPT_TOKENS_AT_ONCE = 4096
"""New prompt tokens of one step, but for a single prompt that is longer."""
REFILL_SHARE = 0.25
"""Prompts are computed when this share of the slots is free: for each single one the rows in progress would wait too often."""


@dataclass(eq=False)
class Row:
    """A request on its way to its completion.

    Attributes:
        index: Its place among the requests that came with it.
        context: Positions of the model; None where it names none.
        voice: The adapter that answers; None for the base model.
        likeliest: For each token, the most probable ones at its place with log p; empty where none were asked for.
        is_cancelled: Nobody wants the answer any more: the next step frees its slot.
    """

    index: int
    request: Request
    context: int | None
    voice: str | None
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    likeliest: list[tuple[tuple[int, float], ...]] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    is_cancelled: bool = False

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
        """Whether it gets more tokens."""
        return self.finish_reason is None and not self.is_cancelled

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
        """The answer; it must have ended."""
        assert self.finish_reason is not None, f"request {self.index} was left unanswered"
        return Completion(tuple(self.token_ids), tuple(self.logprobs), self.finish_reason)


class RunningBatch:
    """Rows on a model, step by step. Rows may be added to `waiting` between any two steps.

    Args:
        model: Takes `luthier_slots` as its attention and is in evaluation mode; with the adapters on that its rows need.
        memory: Holds prompt and answer of every row.
        share_prefix: Off only to compare: computes every prompt whole.

    Attributes:
        waiting: Rows without a slot, first come first.
        active: The row in slot n is ``active[n]``.
    """

    def __init__(self, model: Any, memory: SlotMemory, *, share_prefix: bool = True) -> None:
        self.model, self.memory, self._share_prefix = model, memory, share_prefix
        self.waiting: deque[Row] = deque()
        self.active: list[Row] = []

    @property
    def has_rows(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.waiting or self.active)

    def drop_cancelled(self) -> None:
        """Free the slots of rows that nobody waits for."""
        if any(row.is_cancelled for row in self.waiting):
            self.waiting = deque(row for row in self.waiting if not row.is_cancelled)
        self._release()

    def step(self, mix: AdapterMix | None) -> Sequence[Row]:
        """Give some rows their next token: those of new prompts, or all in progress; returns them.

        Args:
            mix: Where adapters are mixed; None where all rows have the voice that the model has now.
        """
        num_free = self.memory.num_slots - len(self.active)
        if self.waiting and num_free >= min(len(self.waiting), max(1, REFILL_SHARE * self.memory.num_slots)):
            stepping = self._admit(len(self.active))
            self.active += stepping
        else:
            stepping = list(self.active)
        self._compute(stepping, self.active.index(stepping[0]), mix)
        self._release()
        return stepping

    def _admit(self, first_slot: int) -> list[Row]:
        """Give free slots to waiting rows, in order.

        A row whose prompt begins like one that is admitted now stays for the next step, when it can take that one's entries.
        """
        memory, waiting = self.memory, self.waiting
        admitted: list[Row] = []
        later: list[Row] = []
        num_new = 0
        while waiting and first_slot + len(admitted) < memory.num_slots:
            row = waiting.popleft()
            own = row.request.prompt_ids[
                :-1
            ]  # the last token is computed in any case: it predicts the first answer token
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

    def _compute(self, rows: Sequence[Row], first_slot: int, mix: AdapterMix | None) -> None:
        """Compute what the rows' slots do not hold yet, and choose each row's next token."""
        pieces, ids = [], list[int]()
        for slot, row in enumerate(rows, start=first_slot):
            past = len(self.memory.token_ids[slot])
            new = row.all_ids(past)
            pieces.append(Piece(slot, len(ids), len(new), past))
            ids += new
            self.memory.token_ids[slot] += new
        if mix is not None:
            mix.tokens = _tokens_by_adapter(rows, pieces, self.model.device)
        logits_RV = self._forward(ids, Step(self.memory, pieces))
        choice = choose_tokens(logits_RV, [row.sampling for row in rows])
        for number, row in enumerate(rows):
            if row.request.num_likeliest:
                row.likeliest.append(_likeliest(logits_RV[number], row.request.num_likeliest))
        for row, token, logprob in zip(rows, choice.ids_R.tolist(), choice.logprobs_R.tolist(), strict=True):
            row.append(token, logprob)

    def _release(self) -> None:
        """Take out rows that have ended; the last row moves into the gap, so that slots in use stay together."""
        active, memory = self.active, self.memory
        for slot in range(len(active) - 1, -1, -1):
            if active[slot].is_running:
                continue
            last = len(active) - 1
            if slot != last:
                memory.take_over(Known(last, len(memory.token_ids[last])), slot)
                active[slot] = active[last]
            active.pop()

    def _forward(self, ids: Sequence[int], step: Step) -> Tensor:
        """Logits after each row's last token [R, V]; the slots grow."""
        device = self.model.device
        return self.model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=torch.tensor([step.position_ids()], device=device),
            use_cache=False,
            logits_to_keep=torch.tensor(step.last_tokens(), device=device),
            slots=step,
        ).logits[0]


def _likeliest(logits_V: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    best = torch.log_softmax(logits_V.float(), dim=-1).topk(min(count, len(logits_V)))
    return tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))


def _tokens_by_adapter(rows: Sequence[Row], pieces: Sequence[Piece], device: torch.device) -> dict[str, Tensor]:
    tokens: dict[str, list[int]] = {}
    for row, piece in zip(rows, pieces, strict=True):
        if row.voice is not None:
            tokens.setdefault(row.voice, []).extend(range(piece.start, piece.start + piece.length))
    return {name: torch.tensor(places, device=device) for name, places in tokens.items()}
