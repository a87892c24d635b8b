"""Finds: preference pairs whose answers look swapped. Exactly: the row's own scores rate the rejected answer higher; or
the chosen answer is empty or stops in the middle (an open code block, an end on "the" or a comma) and the rejected one
is whole; or the chosen answer opens with a refusal ("I'm sorry, but I cannot", "As an AI language model, I am unable")
and the rejected one does not.

Hurts: the model is pushed towards the worse answer. A few per cent of swapped pairs are enough to stop an objective
from learning.
Do: look at them and swap or drop them. Refusals are reported apart, as a note: in data on safety they are right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from luthier.data.lint.row import Kinds, LintRow
from luthier.data.lint.rule import LISTED_ROWS, Places, Rule, count_of, finding, shown
from luthier.data.lint.truncated_answers import is_cut
from luthier.types import Finding, Message, PreferencePair, Severity

Sign = Literal["rated lower", "empty", "cut off", "a refusal"]

_CANNOT = (
    r"(?:can(?:['’]?t|not| not)|am (?:unable|not able|not capable)|['’]m (?:unable|not able|not capable)|won['’]?t"
    r"|do(?: not|n['’]t) have the)"
)
_REFUSAL = re.compile(
    r"\W*(?:(?:i['’]?m|i am|we are|we['’]re) (?:very |so |really |truly )?(?:sorry|afraid)|sorry|i apologi[sz]e"
    r"|my apologies|unfortunately|as an? (?:ai|artificial|language model|large language))\b[^.!?\n]{0,120}?"
    rf"\b(?:i|we)\b ?{_CANNOT}\b"
    rf"|\W*(?:i|we) ?{_CANNOT} (?:to )?(?:provide|help|assist|fulfil|answer|generate|create|write|comply|discuss"
    r"|classify|give|share|do that|offer|engage|produce|translate|access|browse|complete|respond|support)"
    r"|\W*(?:抱歉|对不起|很抱歉)[^。！？\n]{0,30}(?:无法|不能)|leider kann ich|je suis désolé[^.]{0,40}ne peux"
    r"|lo siento[^.]{0,40}no puedo|mi dispiace[^.]{0,40}non posso",
    re.IGNORECASE,
)
_SHOWN = 34


class SwappedPair:
    """The rule."""

    name = "swapped_pair"
    severity: Severity = "warning"
    kinds: Kinds = frozenset({"preference"})
    looks_at = "chosen answers that look worse than the rejected ones"

    def start(self) -> _Swapped:
        """A fresh pass."""
        return _Swapped(self)


class _Swapped:
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._counts: dict[Sign, int] = {}
        self._first: dict[bool, list[int]] = {False: [], True: []}
        self._examples: dict[bool, str] = {}

    def see(self, row: LintRow) -> None:
        assert row.pair is not None
        sign = sign_of_swap(row.pair)
        if sign is None:
            return
        self._counts[sign] = self._counts.get(sign, 0) + 1
        refuses = sign == "a refusal"
        if len(self._first[refuses]) < LISTED_ROWS:
            self._first[refuses].append(row.number)
        sides = (shown(_said(side), _SHOWN) or "(nothing)" for side in (row.pair.chosen, row.pair.rejected))
        self._examples.setdefault(refuses, "chosen: {} / rejected: {}".format(*sides))

    def findings(self, places: Places) -> Iterable[Finding]:
        signs = {sign: count for sign, count in self._counts.items() if sign != "a refusal"}
        if signs:
            words = ", ".join(f"{count:,} {sign}" for sign, count in signs.items())
            yield finding(
                self._rule,
                places.first(self._first[False]),
                sum(signs.values()),
                f"{count_of(sum(signs.values()), len(places))} look swapped: the chosen answer is the worse one by its "
                "form or its "
                f"score ({words}).",
                "Look at them; swap or drop them.",
                self._examples[False],
            )
        if refusals := self._counts.get("a refusal", 0):
            yield finding(
                self._rule,
                places.first(self._first[True]),
                refusals,
                f"In {count_of(refusals, len(places))} the chosen answer is a refusal and the rejected one is not: the "
                "model "
                "learns to refuse.",
                "Right where the request is harmful; else swap or drop the pair.",
                self._examples[True],
                severity="note",
            )


def sign_of_swap(pair: PreferencePair) -> Sign | None:
    """Why the chosen answer looks like the worse one, or None."""
    chosen, rejected = _said(pair.chosen), _said(pair.rejected)
    if pair.margin is not None and pair.margin < 0:
        return "rated lower"
    if not chosen.strip() and not any(m.tool_calls for m in pair.chosen):
        return "empty" if rejected.strip() else None
    if not rejected.strip() or is_cut(rejected):
        return None
    if is_cut(chosen):
        return "cut off"
    return "a refusal" if is_refusal(chosen) and not is_refusal(rejected) else None


def is_refusal(answer: str) -> bool:
    """Whether an answer opens by refusing."""
    return _REFUSAL.match(answer) is not None


def _said(answer: tuple[Message, ...]) -> str:
    return answer[-1].content if answer else ""


RULE: Rule = SwappedPair()
