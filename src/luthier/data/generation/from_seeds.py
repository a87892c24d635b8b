"""New conversations after the pattern of rows that are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luthier.data.asking import Ask, Question, about_tokens
from luthier.data.generation.asked_json import NotAsAskedError, ask_json, list_under, text_under
from luthier.data.generation.making import Aside, Cost, Made, Wishes, as_json, prompt_tokens, provenance, spoken
from luthier.data.generation.prompts import VARIATION, prompt_text
from luthier.types import Conversation, Message


class FromSeeds:
    """A `Maker` from conversations without tools. Their system messages are kept, not varied."""

    def __init__(self, seeds: Sequence[Conversation], wishes: Wishes) -> None:
        self.things = seeds
        self._wishes = wishes

    def cost(self, thing: Conversation) -> Cost:
        """One question."""
        question, most = self._question(thing), self._wishes.max_tokens
        likely = self._wishes.each * (20 + about_tokens(as_json(_turns(thing))))
        return Cost((question,), 1, prompt_tokens(question), min(most, likely), most)

    def make(self, thing: Conversation, ask: Ask) -> Made:
        """Ask for variations."""
        turns = _turns(thing)
        system = [{"role": m.role, "content": m.content} for m in thing.messages if m.role == "system"]

        def read(content: Any) -> list[list[dict[str, str]]]:
            found = list_under(content, "examples", self._wishes.each)
            return [_conversation(item, turns, f"example {number}") for number, item in enumerate(found, start=1)]

        try:
            conversations, answer = ask_json(ask, self._question(thing), read)
        except NotAsAskedError as bad:
            return Made(aside=[Aside(str(thing.source), "answer_not_as_asked", bad.reason, {"answer": bad.said})])
        origin = provenance("seeds", str(thing.source), VARIATION, answer)
        return Made([{"messages": [*system, *messages], **origin} for messages in conversations])

    def compared(self, row: dict[str, Any]) -> Conversation:
        """All turns."""
        return spoken(row)

    def _question(self, seed: Conversation) -> Question:
        wishes = self._wishes
        text = prompt_text(
            VARIATION, instruction=wishes.instruction, count=str(wishes.each), text=as_json(_turns(seed))
        )
        return Question((Message("user", text),), wishes.max_tokens, wishes.temperature)


def _turns(seed: Conversation) -> list[Message]:
    return [message for message in seed.messages if message.role != "system"]


def _conversation(item: Any, turns: Sequence[Message], where: str) -> list[dict[str, str]]:
    messages = list_under(item, "messages", len(turns) + 1)
    roles = [message.get("role") if isinstance(message, dict) else None for message in messages]
    wanted = [turn.role for turn in turns]
    if roles != wanted:
        found = ", ".join(str(role) for role in roles)
        raise NotAsAskedError(f"{where} has the roles {found}; wanted were {', '.join(wanted)}")
    return [
        {"role": role, "content": text_under(m, "content", where)} for role, m in zip(wanted, messages, strict=True)
    ]
