"""Answers that must be JSON of a certain shape: read out of what a model says, asked once more where it is none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from luthier.data.asking import Answer, Ask, Question
from luthier.types import Message

Result = TypeVar("Result")
_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
_BEGINS = re.compile(r"[{\[]")
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


class NotAsAskedError(Exception):
    """An answer that is not what was asked for: why, and what was said last."""

    def __init__(self, reason: str, said: str = "") -> None:
        self.reason, self.said = reason, said
        super().__init__(reason)


def ask_json(ask: Ask, question: Question, read: Callable[[Any], Result]) -> tuple[Result, Answer]:
    """Ask, and read the answer; where that fails, say why and ask once more.

    Args:
        ask: Who answers.
        question: Says what shape the JSON must have.
        read: Takes the JSON; raises `NotAsAskedError`.

    Raises:
        NotAsAskedError: The second answer is not as asked either.
    """
    answer = ask(question)
    try:
        return read(find_json(answer)), answer
    except NotAsAskedError as first:
        again = Message(
            "user", f"That cannot be used: {first.reason}. Answer again, with the JSON as described and nothing else."
        )
        messages = (*question.messages, Message("assistant", answer.text), again)
    answer = ask(replace(question, messages=messages, seed=question.seed + 1))
    try:
        return read(find_json(answer)), answer
    except NotAsAskedError as second:
        raise NotAsAskedError(second.reason, answer.text) from second


def find_json(answer: Answer) -> Any:
    """The JSON in an answer: the whole of it, or what stands in a fence, or from the first bracket on.

    Raises:
        NotAsAskedError: There is none.
    """
    text = _THOUGHTS.sub("", answer.text).strip()
    fenced = _FENCED.search(text)
    begins = _BEGINS.search(text)
    for candidate in (text, fenced.group(1) if fenced else "", text[begins.start() :] if begins else ""):
        try:
            return json.JSONDecoder().raw_decode(candidate.strip())[0] if candidate else _nothing()
        except (ValueError, RecursionError):
            continue
    if answer.was_cut:
        raise NotAsAskedError("it was cut off by the limit on its length (--max-tokens)")
    raise NotAsAskedError("it holds no valid JSON")


def _nothing() -> Any:
    raise ValueError


def list_under(content: Any, key: str, most: int) -> list[Any]:
    """The list of an object like ``{"examples": [...]}``; a bare list will do.

    Raises:
        NotAsAskedError: There is none, or it is empty.
    """
    found = content.get(key) if isinstance(content, dict) else content
    if not isinstance(found, list):
        raise NotAsAskedError(f'it has no list under "{key}"')
    if not found:
        raise NotAsAskedError(f'the list under "{key}" is empty')
    return found[:most]


def text_under(content: Any, key: str, where: str) -> str:
    """A text that is not empty and can be written.

    Raises:
        NotAsAskedError: There is none.
    """
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, str) or not found.strip():
        raise NotAsAskedError(f'{where} has no text under "{key}"')
    try:
        found.encode()
    except UnicodeEncodeError:
        raise NotAsAskedError(f'{where}: "{key}" holds half of a character') from None
    return found.strip()
