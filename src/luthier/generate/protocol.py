"""What generation is, for evaluation, checks, chat and rollouts alike: token ids in, token ids and log-probabilities out.

Text never enters here: prompts are rendered and answers decoded by the inference contract (`models/contract.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Request:
    """One answer to be generated.

    Attributes:
        prompt_ids: The whole prompt, special tokens included.
        max_new_tokens: Upper limit of the answer.
        stop_ids: Generation ends with the first of these; it is part of the answer's ids.
        temperature: 0 takes the most probable token; above, tokens are drawn from softmax(logits / temperature).
        top_p: Only the most probable tokens that together reach this share are drawn from.
        seed: Makes a drawn answer repeat, whatever else is in the batch.
        use_adapter: False answers with the base model under the adapter.
        adapter: Which of several adapters, by its name in PEFT; None takes the active one.
        num_likeliest: How many of the most probable tokens to note at each place, beside the one that was chosen.
    """

    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    stop_ids: frozenset[int]
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    use_adapter: bool = True
    adapter: str | None = None
    num_likeliest: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer: its ids (a stop token included), log p of each under the undistorted model, and why it ended."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason


class Engine(Protocol):
    """Something that answers requests. Order of answers = order of requests."""

    def generate(
        self, requests: Sequence[Request], on_progress: Callable[[int], None] | None = None
    ) -> list[Completion]:
        """Answer all; `on_progress` is called with the number of answers that were finished since the last call."""
        ...
