"""Rows for the tests of rules: conversations that no rule has anything to say about, and a way to ask one rule."""

from __future__ import annotations

import random
from collections.abc import Iterable

from luthier.data.lint.catalogue import RULES
from luthier.data.lint.rule import look
from luthier.types import Conversation, Document, Finding, Message, Source

TOPICS = ("rivers", "bread", "glass", "bridges", "clocks", "maps", "wool", "salt", "paper", "bees", "canals", "violins")
VERBS = ("carry", "shape", "colour", "protect", "change", "feed", "join", "divide", "warm", "teach", "measure", "slow")
PLACES = ("a small town", "the old harbour", "many villages", "our kitchen", "the northern coast", "a mountain valley")
WHY = ("because water is near", "since people trade there", "as winters are long", "while summers stay dry")


def chat(*turns: str, system: str | None = None, line: int = 1, **changes: object) -> Conversation:
    roles = ("user", "assistant")
    messages = [Message("system", system)] if system is not None else []
    messages += [Message(roles[i % 2], turn) for i, turn in enumerate(turns)]  # type: ignore[arg-type]
    return Conversation(tuple(messages), source=Source("rows.jsonl", line), **changes)  # type: ignore[arg-type]


def conversation(*messages: Message, line: int = 1, **changes: object) -> Conversation:
    return Conversation(messages, source=Source("rows.jsonl", line), **changes)  # type: ignore[arg-type]


def document(text: str, line: int = 1) -> Document:
    return Document(text, Source("rows.jsonl", line))


def clean_rows(count: int, seed: int = 0) -> list[Conversation]:
    """Different questions with different, complete answers of three to six sentences."""
    rng = random.Random(seed)
    rows = []
    for line in range(1, count + 1):
        topic, place = rng.choice(TOPICS), rng.choice(PLACES)
        question = f"How do {topic} {rng.choice(VERBS)} {place}, and what did people number {line} say about it?"
        rows.append(chat(question, " ".join(_sentence(rng) for _ in range(rng.randint(3, 6))), line=line))
    return rows


def _sentence(rng: random.Random) -> str:
    words = f"{rng.choice(TOPICS)} {rng.choice(VERBS)} {rng.choice(PLACES)} {rng.choice(WHY)}"
    more = f"and {rng.choice(TOPICS)} {rng.choice(VERBS)} {rng.choice(TOPICS)} {rng.choice(WHY)}"
    return f"{words} {more}".capitalize() + "."


def ask(rule: str, rows: Iterable[Conversation | Document]) -> list[Finding]:
    return look([RULES[rule]], rows)


def found(rule: str, *rows: Conversation | Document) -> list[int]:
    """Lines that a rule names, and a check that it counts them."""
    findings = ask(rule, rows)
    lines = [source.line for finding in findings for source in finding.rows]
    assert sum(finding.num_rows for finding in findings) == len(lines)
    return lines
