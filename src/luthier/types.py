"""The nouns that every part of Luthier passes around: what data is before it is tokens, and what was found out.

Plain frozen dataclasses, no torch, no pydantic: a reader of a run folder or a front end can import them for free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a row came from, so that every complaint can name it: ``file:line`` (lines count from 1)."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        train: Whether this turn is learnt. None means the rule: assistant turns are, all others are not.
        thinking: Reasoning text that the template may render before the content.
        tool_call_id: Which call a tool's result answers; None means the calls in their order.
        weight: How much each token of a learnt turn counts in the loss; None means 1.
    """

    role: Role
    content: str
    name: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    thinking: str | None = None
    train: bool | None = None
    tool_call_id: str | None = None
    weight: float | None = None

    @property
    def is_trained(self) -> bool:
        """The rule of `train`, resolved."""
        return self.role == "assistant" if self.train is None else self.train


@dataclass(frozen=True, slots=True)
class Conversation:
    """A chat: what instruction tuning learns from."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """Running text without roles: every token of it is learnt."""

    text: str
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two answers to one prompt of which `chosen` is the better, by `margin` where that is known."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    margin: float | None = None
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """One answer to a prompt with a verdict, as KTO learns from."""

    prompt: tuple[Message, ...]
    answer: tuple[Message, ...]
    is_good: bool
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something seen in data that a person should know: which rule, where, and what to do about it.

    Attributes:
        rows: Places of the first rows concerned; a few, however many there are.
        num_rows: How many rows are concerned; 0 where it is not about single rows.
        example: What was seen in the first of them, shortened.
    """

    rule: str
    severity: Severity
    rows: tuple[Source, ...]
    message: str
    fix: str
    num_rows: int = 0
    example: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A claim that was put to the test on the real artefact.

    Attributes:
        name: Short and stable, ``stage.subject`` (``preflight.longest_row``).
        claim: The sentence that should be true.
        measured: The value seen, as a number or in words.
        limit: What `measured` was held against.
        unit: Unit of both; empty where they are words or pure numbers.
        passed: The verdict.
        advice: What to do when it failed.
    """

    name: str
    claim: str
    measured: float | str
    limit: float | str
    unit: str
    passed: bool
    advice: str

    def to_json(self) -> dict[str, Any]:
        """The record as it stands in ``checks.jsonl``."""
        return asdict(self)
