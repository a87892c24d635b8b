"""Questions and answers about pieces of documents."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from luthier.data.asking import Ask, Question
from luthier.data.generation.asked_json import NotAsAskedError, ask_json, list_under, text_under
from luthier.data.generation.documents import Piece
from luthier.data.generation.making import Aside, Cost, Made, Wishes, prompt_tokens, provenance, spoken
from luthier.data.generation.prompts import QUESTION_ANSWER, prompt_text
from luthier.types import Conversation, Message

_LIKELY_TOKENS = 120
"""Of a question with its answer."""


class FromDocuments:
    """A `Maker` from pieces of text."""

    def __init__(self, pieces: Sequence[Piece], wishes: Wishes) -> None:
        self.things = pieces
        self._wishes = wishes

    def cost(self, thing: Piece) -> Cost:
        """One question."""
        question, most = self._question(thing), self._wishes.max_tokens
        return Cost((question,), 1, prompt_tokens(question), min(most, _LIKELY_TOKENS * self._wishes.each), most)

    def make(self, thing: Piece, ask: Ask) -> Made:
        """Ask for pairs."""
        try:
            pairs, answer = ask_json(ask, self._question(thing), partial(_read, most=self._wishes.each))
        except NotAsAskedError as bad:
            return Made(aside=[Aside(thing.source, "answer_not_as_asked", bad.reason, {"answer": bad.said})])
        origin = provenance("docs", thing.file, QUESTION_ANSWER, answer, piece=thing.number)
        rows = [
            {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}], **origin}
            for q, a in pairs
        ]
        return Made(rows)

    def compared(self, row: dict[str, Any]) -> Conversation:
        """Question and answer."""
        return spoken(row)

    def _question(self, piece: Piece) -> Question:
        wishes = self._wishes
        text = prompt_text(QUESTION_ANSWER, instruction=wishes.instruction, count=str(wishes.each), text=piece.text)
        return Question((Message("user", text),), wishes.max_tokens, wishes.temperature)


def _read(content: Any, most: int) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for number, item in enumerate(list_under(content, "examples", most), start=1):
        where = f"example {number}"
        pairs.append((text_under(item, "question", where), text_under(item, "answer", where)))
    return pairs
