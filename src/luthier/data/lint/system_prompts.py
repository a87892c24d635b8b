"""Finds: rows of which only some have a system prompt, and data that mix a few different ones.

Hurts: the model is later asked with one system prompt, or none; what it learnt under another comes out weaker. A prompt
that is different in every row (a retrieved document, a persona) is meant to be and is not reported.
Do: give every row the system prompt that you will use, or remove it everywhere.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from luthier.data.lint.row import SPOKEN, Kinds, LintRow
from luthier.data.lint.rule import Places, Rule, filled, finding, shown
from luthier.types import Finding, Severity

_MOST_FEW = 20


class SystemPrompts:
    """The rule."""

    name = "system_prompts"
    severity: Severity = "warning"
    kinds: Kinds = SPOKEN
    looks_at = "system messages"

    def start(self) -> _Prompts:
        """A fresh pass."""
        return _Prompts(self)


class _Prompts:
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._with: array[int] = array("q")
        self._without: array[int] = array("q")
        self._counts: dict[str, int] = {}
        self._first: dict[str, int] = {}

    def see(self, row: LintRow) -> None:
        if not row.messages:
            return
        prompt = row.messages[0].content.strip() if row.messages[0].role == "system" else ""
        if not prompt:
            self._without.append(row.number)
            return
        self._with.append(row.number)
        if prompt in self._counts or len(self._counts) <= _MOST_FEW:
            self._counts[prompt] = self._counts.get(prompt, 0) + 1
            self._first.setdefault(prompt, row.number)

    def findings(self, places: Places) -> Iterable[Finding]:
        if self._with and self._without:
            few, word = (self._without, "no") if len(self._without) <= len(self._with) else (self._with, "a")
            yield finding(
                self._rule,
                places.first(few),
                len(few),
                filled("{rows} {have} {word} system prompt, unlike the others:", len(few), len(places), word=word)
                + " what is learnt with one comes out weaker without it, and the other way round.",
                "Give every row the system prompt that you will use, or remove it everywhere.",
                next(iter(self._counts), ""),
            )
        if 1 < len(self._counts) <= min(_MOST_FEW, len(self._with) // 2):
            common = max(self._counts, key=lambda prompt: self._counts[prompt])
            others = [prompt for prompt in self._counts if prompt != common]
            yield finding(
                self._rule,
                places.first(sorted(self._first[prompt] for prompt in others)),
                sum(self._counts[prompt] for prompt in others),
                f"{len(self._counts)} different system prompts are mixed; "
                f"{self._counts[common]:,} rows have the most common one.",
                "Fine if they select behaviours that you will ask for; else use one.",
                f"{shown(common, 40)} / {shown(others[0], 40)}",
                severity="note",
            )


RULE: Rule = SystemPrompts()
