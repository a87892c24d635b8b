"""Finds: a few answers in another language than the rest.

Hurts: the model answers in the wrong language now and then. Where languages are mixed on purpose it is a fact, not a
fault.
Do: drop or translate the strays; for a multilingual model make sure that each language has enough rows.

A sample of at most 2,000 answers, evenly spread over the rows, is classified. Short answers and code say too little and
are left out, as are rows whose question names a language or asks for a translation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from luthier.data.lint.row import Kinds, LintRow
from luthier.data.lint.rule import Places, Rule, finding
from luthier.types import Finding, Severity
from luthier.units import format_share

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_MOST_SAMPLED = 2000
_LEAST_LETTERS = 80
_READ_CHARACTERS = 600
_LEAST_MARGIN = 0.97
_LEAST_STRAYS = 2
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|\$[^$\n]+\$", re.DOTALL)
_PROGRAM = re.compile(
    r"^\s*(?:def |class |import |from \w+ import|function |const |var |let |public |private |#include|SELECT |<\w+"
    r"|return |if \()"
    r"|[;{}]\s*$",
    re.MULTILINE,
)
_ABOUT_LANGUAGE = re.compile(
    r"translat|übersetz|tradui|traduc|перевед|翻译|翻譯|\b(?:in|into|to) "
    r"(?:english|french|german|spanish|italian|portuguese|chinese|japanese|korean|russian|arabic|hindi|latin|dutch"
    r"|polish|turkish)\b",
    re.IGNORECASE,
)


class _Sample(NamedTuple):
    number: int
    text: str


class LanguageMix:
    """The rule."""

    name = "language_mix"
    severity: Severity = "note"
    kinds: Kinds = frozenset({"chat", "text", "preference", "kto"})
    looks_at = "the language of answers, in a sample"

    def start(self) -> _Languages:
        """A fresh pass."""
        return _Languages(self)


class _Languages:
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._samples: list[_Sample] = []
        self._every = 1

    def see(self, row: LintRow) -> None:
        if row.number % self._every or len(row.answered) < _LEAST_LETTERS // 3:
            return
        text = prose_of(row.answered)
        if not is_prose(text) or _ABOUT_LANGUAGE.search(row.prompts):
            return
        self._samples.append(_Sample(row.number, text))
        if len(self._samples) > _MOST_SAMPLED:
            self._every *= 2
            self._samples = [sample for sample in self._samples if sample.number % self._every == 0]

    def findings(self, places: Places) -> Iterable[Finding]:
        known = [(sample, language) for sample in self._samples if (language := language_of(sample.text))]
        counts = Counter(language for _, language in known)
        if len(counts) < 2:
            return
        main = counts.most_common(1)[0][0]
        others = {language: count for language, count in counts.items() if language != main and count >= _LEAST_STRAYS}
        strays = [sample for sample, language in known if language in others]
        if not strays:
            return
        shares = ", ".join(f"{language} {format_share(n / len(known))}" for language, n in counts.most_common(5))
        yield finding(
            self._rule,
            places.first([sample.number for sample in strays]),
            len(strays),
            f"Answers are in several languages ({shares} of {len(known):,} looked at).",
            "If one language is meant, drop or translate the others; else see that each has enough rows.",
            strays[0].text,
        )


def prose_of(text: str) -> str:
    """The beginning of a text without code, links and formulas."""
    head = text[: 2 * _READ_CHARACTERS]
    return (_CODE.sub(" ", head) if "`" in head or "http" in head or "$" in head else head)[:_READ_CHARACTERS]


def is_prose(text: str) -> bool:
    """Whether there are words enough to tell a language by, and no program."""
    return num_letters(text[: 2 * _LEAST_LETTERS]) >= _LEAST_LETTERS and not _PROGRAM.search(text)


def num_letters(text: str) -> int:
    """Letters, where a sign of Han, kana or hangul counts as three: it says as much."""
    return sum(1 if c < "\u2e80" else 3 for c in text if c.isalpha())


def language_of(text: str) -> str | None:
    """ISO 639-1 code, or None where the text leaves doubt."""
    language, probability = _identifier().classify(text)
    return language if probability >= _LEAST_MARGIN else None


@cache
def _identifier() -> LanguageIdentifier:
    """The model takes half a second and 100 MB: it is loaded with the first text."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


RULE: Rule = LanguageMix()
