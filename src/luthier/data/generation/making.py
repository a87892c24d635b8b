"""What making examples has in common: things to make them from, rows that come out, and what is set aside with the reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from luthier.data.asking import Answer, Ask, Question, about_tokens
from luthier.data.generation.table import PROVENANCE
from luthier.types import Conversation, Message

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Aside:
    """What did not become a row.

    Attributes:
        source: Where it comes from.
        rule: What kind of reason, short and stable.
        reason: In words.
        row: What there is of it.
    """

    source: str
    rule: str
    reason: str
    row: Any = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file of dropped rows."""
        return {"source": self.source, "rule": self.rule, "reason": self.reason, "row": self.row}


@dataclass
class Made:
    """What came of one thing.

    Attributes:
        rows: With their provenance.
        aside: What did not become a row.
        num_contradictions: Times that the judge said one thing, and another when the answers changed places.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    aside: list[Aside] = field(default_factory=list)
    num_contradictions: int = 0


@dataclass(frozen=True)
class Cost:
    """What one thing takes, roughly.

    Attributes:
        questions: That are known beforehand.
        num_questions: With those that follow from answers.
        prompt_tokens: Of all of them.
        answer_tokens: Likely.
        answer_tokens_most: By the limits.
    """

    questions: tuple[Question, ...]
    num_questions: int
    prompt_tokens: int
    answer_tokens: int
    answer_tokens_most: int


class Maker(Protocol[Thing]):
    """One way to make examples."""

    @property
    def things(self) -> Sequence[Thing]:
        """What they are made from."""
        ...

    def cost(self, thing: Thing) -> Cost:
        """What it takes to make examples from this."""
        ...

    def make(self, thing: Thing, ask: Ask) -> Made:
        """Make them. Called by several threads.

        Raises:
            EndpointError: Somebody who is asked does not answer.
        """
        ...

    def compared(self, row: dict[str, Any]) -> Conversation:
        """What of a row must not be said twice."""
        ...


@dataclass(frozen=True)
class Wishes:
    """How examples are to be made.

    Attributes:
        each: Examples from each thing; of preferences, answers to choose from.
        max_tokens: Longest answer.
        temperature: How freely words are drawn.
        instruction: What else to say to the model.
    """

    each: int
    max_tokens: int
    temperature: float
    instruction: str = ""


def provenance(kind: str, source: str, prompt: str, answer: Answer, **more: Any) -> dict[str, Any]:
    """Where a row comes from, as its own column."""
    return {
        PROVENANCE: {"from": kind, "source": source, **more, "model": answer.model, "prompt": prompt, "at": answer.at}
    }


def spoken(row: dict[str, Any]) -> Conversation:
    """The messages of a row that was made."""
    return Conversation(tuple(Message(m["role"], m["content"]) for m in row["messages"]))


def as_json(messages: Sequence[Message]) -> str:
    """A conversation as a model is shown it."""
    return json.dumps([{"role": m.role, "content": m.content} for m in messages], ensure_ascii=False, indent=1)


def prompt_tokens(question: Question) -> int:
    """Roughly, with the marks around messages."""
    return sum(4 + about_tokens(message.content) for message in question.messages)
