"""One verdict of a judge: asked for, read, asked for once more where it makes no sense, and given up where it still does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from luthier.data.asking import Answer, Ask, Question
from luthier.data.generation.asked_json import NotAsAskedError, ask_json
from luthier.errors import EndpointError
from luthier.evaluation.judge.prompts import LEAST_POINTS, MOST_POINTS

Value = TypeVar("Value")
_LONGEST_REASON = 600


class Verdict(NamedTuple, Generic[Value]):
    """What the judge said.

    Attributes:
        value: None where there is no verdict.
        reason: In the judge's words.
        num_nonsense: Answers that could not be used.
        problem: Why there is no verdict.
    """

    value: Value | None
    reason: str = ""
    num_nonsense: int = 0
    problem: str = ""


def ask_verdict(ask: Ask, question: Question, read: Callable[[Any], Value]) -> Verdict[Value]:
    """Ask a judge.

    Args:
        ask: Who is asked.
        question: What.
        read: Takes the JSON of an answer; raises `NotAsAskedError`.

    Raises:
        EndpointError: Nobody answers any more.
    """
    num_asked = 0

    def counted(asked: Question) -> Answer:
        nonlocal num_asked
        num_asked += 1
        return ask(asked)

    def read_both(content: Any) -> tuple[Value, str]:
        reason = content.get("reason") if isinstance(content, dict) else None
        return read(content), str(reason or "")[:_LONGEST_REASON]

    try:
        (value, reason), _ = ask_json(counted, question, read_both)
    except NotAsAskedError as nonsense:
        return Verdict(None, "", num_asked, f"nonsense: {nonsense.reason}")
    except EndpointError as error:
        if error.ends_all:
            raise
        return Verdict(None, "", num_asked - 1, f"no answer: {error}")
    return Verdict(value, reason, num_asked - 1)


def read_better(content: Any) -> str:
    """``A``, ``B`` or ``tie``."""
    said = content.get("better") if isinstance(content, dict) else None
    word = str(said).strip().lower().removeprefix("answer ").strip()
    if word in ("a", "b"):
        return word.upper()
    if word in ("tie", "neither", "equal", "both"):
        return "tie"
    raise NotAsAskedError('"better" is none of "A", "B" and "tie"')


def read_points(content: Any) -> int:
    """Points of a rubric."""
    points = as_points(content.get("score") if isinstance(content, dict) else None)
    if points is None:
        raise NotAsAskedError(f'"score" is no number from {LEAST_POINTS} to {MOST_POINTS}')
    return points


def as_points(value: Any) -> int | None:
    """A number as whole points; None where it is none, or out of range."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not LEAST_POINTS <= value <= MOST_POINTS:
        return None
    return round(value)
