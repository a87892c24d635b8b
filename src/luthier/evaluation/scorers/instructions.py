"""Does the answer keep to instructions that a rule can verify? Right if it keeps to all of its row's.

The idea is that of IFEval (Zhou et al. 2023, arXiv:2311.07911), with rules of our own wording. A row's reference is a mapping
from rule to its argument, {"min_words": 50, "no_commas": true}. The metric counts answers that keep to all; the figure
`instructions_kept` is the mean share that is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from luthier.evaluation.protocol import Score, Scorer, TaskRow
from luthier.evaluation.scorers.json_schema import find_json

Takes = Literal["count", "text", "texts", "flag", "counts"]

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)")
_BULLET = re.compile(r"^[ \t]*(?:[-*•+]|\d+[.)])[ \t]+\S", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+\S", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]+\]")
_BOLD = re.compile(r"(?<!\*)(\*{1,2})(?=\S)[^*\n]+?(?<=\S)\1(?!\*)")


class Instruction(NamedTuple):
    """One rule: what argument it takes, and whether a text keeps to it."""

    takes: Takes
    keeps: Callable[[str, Any], bool]


def words(text: str) -> list[str]:
    """Words; what an apostrophe or a hyphen joins is one."""
    return _WORD.findall(text)


def num_sentences(text: str) -> int:
    """Stretches that end with . ! ? or …, and a last one that does not."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    rest = text[ends[-1] :] if ends else text
    return len(ends) + bool(words(rest))


def paragraphs(text: str) -> list[str]:
    """Stretches between empty lines."""
    return [part for part in re.split(r"\n[ \t]*\n", text.strip()) if part.strip()]


def num_of_word(text: str, word: str) -> int:
    """How often a word or phrase stands in a text, as whole words, whatever its case."""
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE))


def _all_contained(text: str, wanted: list[str]) -> bool:
    return all(num_of_word(text, word) for word in wanted)


def _has_counts(text: str, counts: Mapping[str, int]) -> bool:
    return all(num_of_word(text, word) >= count for word, count in counts.items())


def _quoted(text: str, wanted: bool) -> bool:
    stripped = text.strip()
    marks = (('"', '"'), ("“", "”"), ("„", "“"), ("«", "»"))
    return (len(stripped) > 1 and any(stripped[0] == a and stripped[-1] == b for a, b in marks)) is wanted


def _cased(text: str) -> str:
    return "".join(character for character in text if character.isalpha())


def _is_upper(text: str, wanted: bool) -> bool:
    letters = _cased(text)
    return (bool(letters) and letters == letters.upper()) is wanted


def _is_lower(text: str, wanted: bool) -> bool:
    letters = _cased(text)
    return (bool(letters) and letters == letters.lower()) is wanted


INSTRUCTIONS: dict[str, Instruction] = {
    "min_words": Instruction("count", lambda text, n: len(words(text)) >= n),
    "max_words": Instruction("count", lambda text, n: 0 < len(words(text)) <= n),
    "min_sentences": Instruction("count", lambda text, n: num_sentences(text) >= n),
    "max_sentences": Instruction("count", lambda text, n: 0 < num_sentences(text) <= n),
    "paragraphs": Instruction("count", lambda text, n: len(paragraphs(text)) == n),
    "bullets": Instruction("count", lambda text, n: len(_BULLET.findall(text)) == n),
    "headings": Instruction("count", lambda text, n: len(_HEADING.findall(text)) == n),
    "min_placeholders": Instruction("count", lambda text, n: len(_PLACEHOLDER.findall(text)) >= n),
    "min_bold": Instruction("count", lambda text, n: len(_BOLD.findall(text)) >= n),
    "contains": Instruction("texts", _all_contained),
    "excludes": Instruction("texts", lambda text, w: bool(text.strip()) and not any(num_of_word(text, x) for x in w)),
    "word_counts": Instruction("counts", _has_counts),
    "starts_with": Instruction("text", lambda text, start: text.strip().casefold().startswith(start.casefold())),
    "ends_with": Instruction("text", lambda text, end: text.strip().casefold().endswith(end.strip().casefold())),
    "matches": Instruction("text", lambda text, pattern: re.search(pattern, text.strip()) is not None),
    "is_uppercase": Instruction("flag", _is_upper),
    "is_lowercase": Instruction("flag", _is_lower),
    "no_commas": Instruction("flag", lambda text, wanted: bool(text.strip()) and ("," not in text) is wanted),
    "in_quotes": Instruction("flag", _quoted),
    "is_json": Instruction("flag", lambda text, wanted: ((j := find_json(text)) is not None and j.is_bare) is wanted),
}


class Instructions(Scorer):
    """Verifies each row's rules."""

    name = "instructions"
    metric = "all_kept"
    figures = ("instructions_kept",)

    def reference_problem(self, reference: Any) -> str:
        """A mapping of rules that exist to arguments that fit."""
        if not isinstance(reference, Mapping) or not reference:
            return f"it is {reference!r}; it must be a mapping of rules, such as {{min_words: 50, no_commas: true}}"
        for rule, argument in reference.items():
            if rule not in INSTRUCTIONS:
                return f"there is no rule '{rule}'; known: {', '.join(INSTRUCTIONS)}"
            if problem := _argument_problem(INSTRUCTIONS[rule].takes, argument):
                return f"{rule}: {problem}"
        try:
            re.compile(reference.get("matches", ""))
        except re.error as error:
            return f"matches: {error}"
        return ""

    def score(self, row: TaskRow, answer: str) -> Score:
        """1 where all are kept."""
        broken = [rule for rule, argument in row.reference.items() if not INSTRUCTIONS[rule].keeps(answer, argument)]
        share = 1 - len(broken) / len(row.reference)
        why = f"broken: {', '.join(broken)}" if broken else "keeps to all"
        return Score(float(not broken), why, measures={"instructions_kept": share})


def _argument_problem(takes: Takes, argument: Any) -> str:
    is_count = isinstance(argument, int) and not isinstance(argument, bool) and argument >= 0
    is_texts = isinstance(argument, list) and bool(argument) and all(isinstance(x, str) and x for x in argument)
    fits = {
        "count": (is_count, "a whole number"),
        "text": (isinstance(argument, str) and bool(argument), "a text"),
        "texts": (is_texts, "a list of texts"),
        "flag": (isinstance(argument, bool), "true or false"),
        "counts": (
            isinstance(argument, Mapping) and bool(argument) and all(isinstance(n, int) for n in argument.values()),
            "a mapping of words to whole numbers",
        ),
    }
    good, wanted = fits[takes]
    return "" if good else f"expected {wanted}, found {argument!r}"
