"""Finds: judgements that contradict each other: of the same two answers to a prompt now one and now the other is
chosen; or the same answer is labelled good in one row and bad in another.

Hurts: the two rows push in opposite directions, so nothing is learnt from either, and the loss cannot fall.
Do: keep the judgement that is right, or drop both.
"""

from __future__ import annotations

from collections.abc import Iterable

from luthier.data.content import normalised
from luthier.data.lint.row import Kinds, LintRow, hash_of
from luthier.data.lint.rule import Places, Rule, count_of, finding
from luthier.types import Finding, LabelledAnswer, Message, Severity


class ConflictingPreferences:
    """The rule."""

    name = "conflicting_preferences"
    severity: Severity = "warning"
    kinds: Kinds = frozenset({"preference", "kto"})
    looks_at = "rows with an equal prompt and equal answers"

    def start(self) -> _Judgements:
        """A fresh pass."""
        return _Judgements(self)


class _Judgements:
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._first: dict[int, int] = {}
        """Of what is judged: twice the row's number, plus the judgement as one bit."""
        self._rows: set[int] = set()
        self._example = ""

    def see(self, row: LintRow) -> None:
        key, judgement = _judged(row)
        first = self._first.setdefault(key, 2 * row.number + judgement)
        if first % 2 != judgement:
            self._rows.update((first // 2, row.number))
            self._example = self._example or row.prompts

    def findings(self, places: Places) -> Iterable[Finding]:
        if self._rows:
            rows = sorted(self._rows)
            yield finding(
                self._rule,
                places.first(rows),
                len(rows),
                f"{count_of(len(rows), len(places))} judge the same answers in opposite ways: what one teaches the "
                "other takes back.",
                "Keep the judgement that is right, or drop both.",
                self._example,
            )


def _judged(row: LintRow) -> tuple[int, bool]:
    """What is judged, as a number, and the judgement."""
    item = row.item
    if isinstance(item, LabelledAnswer):
        return hash_of(f"{row.prompt_hash}\n{_words(item.answer)}"), item.is_good
    assert row.pair is not None
    answers = (_words(row.pair.chosen), _words(row.pair.rejected))
    return hash_of(f"{row.prompt_hash}\n{min(answers)}\n{max(answers)}"), answers[0] < answers[1]


def _words(answer: tuple[Message, ...]) -> str:
    return "\0".join(f"{m.role}: {normalised(m.content)} {m.tool_calls or ''}" for m in answer)


RULE: Rule = ConflictingPreferences()
