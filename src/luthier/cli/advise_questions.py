"""The questions of `luthier advise` on a terminal, where nothing was said on the command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import typer

from luthier.advise.questions import QUESTIONS, understood
from luthier.cli.dispatch import Wish


def asked_where_nothing_was_said(
    wish: Wish | None, words: Mapping[str, Any], data: tuple[str, ...], evaluation: str | None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Words and data files as given; asked for where there are none and somebody can answer (never with --json)."""
    can_answer = sys.stdin.isatty() and sys.stderr.isatty() and not (wish and wish.wants_json)
    if data or evaluation is not None or not can_answer or any(value is not None for value in words.values()):
        return dict(words), data
    answers = ask_questions()
    file = answers.pop("data", None)
    return {**words, **answers}, (file,) if file else ()


def ask_questions() -> dict[str, Any]:
    """Put the questions on stderr; Enter is an answer."""
    typer.echo("A few questions. Enter where you do not know.", err=True)
    answers: dict[str, Any] = {}
    for question in QUESTIONS:
        hint = " [y/n]" if question.kind == "yes or no" else ""
        while True:
            text = typer.prompt(f"{question.text}{hint}", default="", show_default=False, err=True)
            try:
                value = understood(question, text)
            except ValueError as fault:
                typer.echo(str(fault), err=True)
                continue
            break
        if value is not None:
            answers[question.name] = value
    return answers
