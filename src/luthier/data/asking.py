"""What asking a chat model is: a question in, an answer out, as text.

Who answers, an endpoint or a model on this machine, is in `luthier.generate`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from luthier.types import Message


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked.

    Attributes:
        messages: The conversation so far; the last one is to be answered.
        max_tokens: Longest answer.
        temperature: 0 takes the most probable words.
        seed: Makes a drawn answer repeat, where the model can.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What it said.

    Attributes:
        text: The words.
        model: Who, in its own words.
        was_cut: Whether the limit ended it.
        prompt_tokens: As the model counted them; 0 where it did not say.
        answer_tokens: Likewise.
        at: When.
    """

    text: str
    model: str
    was_cut: bool = False
    prompt_tokens: int = 0
    answer_tokens: int = 0
    at: str = ""


Ask = Callable[[Question], Answer]


def about_tokens(text: str) -> int:
    """Roughly how many tokens a text has, whatever the tokenizer: 4 Latin characters each, most other signs one of their own."""
    num_ascii = len(text.encode("ascii", "ignore"))
    return -(-num_ascii // 4) + round(0.8 * (len(text) - num_ascii))
