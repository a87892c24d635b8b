"""Finds: people's names, first and last, with the optional extra ``pii`` (spaCy and a pipeline that recognises names).

Hurts: as other personal data, where the people are private ones; authors, politicians and characters of novels are
facts. Which is which only a person can tell, so this is a note.
Do: look at the names; replace those of private people by made-up ones.

A random sample of at most 400 rows is read, 1,000 characters of each. A small English pipeline finds about two of three
names, and a quarter of what it finds is none.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from luthier.data.hash_sample import HashSample
from luthier.data.lint.row import ALL_KINDS, Kinds, LintRow
from luthier.data.lint.rule import Given, NeedyRule, Places, Rule, finding
from luthier.types import Finding, Severity
from luthier.units import format_share

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_SAMPLED = 400
_KEPT_CHARACTERS = 1000
_NAMED = 4
_FULL_NAME = re.compile(r"[^\W\d_][^\W\d_.'’-]*\.?(?:[ '’-][^\W\d_.]+\.?){1,4}")
"""Pipelines take much for a name that is none; letters alone, and a capital at the beginning, sort most of it out."""


class Names(NeedyRule):
    """The rule."""

    name = "names"
    severity: Severity = "note"
    kinds: Kinds = ALL_KINDS
    looks_at = "people's names, in a sample"
    needs = "spaCy with a pipeline that recognises names (pip install 'luthier[pii]')"

    def __init__(self, pipeline: str = "") -> None:
        self._pipeline = pipeline

    def equip(self, given: Given) -> Names | None:
        """With an installed pipeline."""
        del given
        pipeline = _installed_pipeline()
        return Names(pipeline) if pipeline else None

    def start(self) -> _Named:
        """A fresh pass."""
        return _Named(self, self._pipeline)


class _Text(NamedTuple):
    number: int
    text: str


class _Named:
    def __init__(self, rule: Rule, pipeline: str) -> None:
        self._rule, self._pipeline = rule, pipeline
        self._sample: HashSample[_Text] = HashSample(_MOST_SAMPLED)

    def see(self, row: LintRow) -> None:
        if self._sample.wants(row.content_hash):
            self._sample.add(row.content_hash, _Text(row.number, row.whole[:_KEPT_CHARACTERS]))

    def findings(self, places: Places) -> Iterable[Finding]:
        texts = self._sample.values()
        people = _people(self._pipeline, [text.text for text in texts])
        rows = sorted(text.number for text, names in zip(texts, people, strict=True) if names)
        if rows:
            counts = Counter(name for names in people for name in set(names))
            most = ", ".join(f"{name} ({count})" for name, count in counts.most_common(_NAMED))
            yield finding(
                self._rule,
                places.first(rows),
                len(rows),
                f"{len(rows):,} of {len(texts):,} rows looked at ({format_share(len(rows) / len(texts))}) name people: "
                f"{len(counts):,} different names, most often {most}. Found with {self._pipeline}.",
                "Look at them; replace those of private people by made-up ones.",
                next(iter(counts)),
            )


def _people(pipeline: str, texts: Sequence[str]) -> list[list[str]]:
    """Of each text the names of two to four words, as written."""
    nlp = _load(pipeline)
    return [
        [e.text for e in document.ents if e.label_ in ("PERSON", "PER") and _is_full_name(e.text)]
        for document in nlp.pipe(texts)
    ]


def _is_full_name(text: str) -> bool:
    return _FULL_NAME.fullmatch(text) is not None and all(
        word[0].isupper() for word in (text.split()[0], text.split()[-1])
    )


def _installed_pipeline() -> str:
    """The first installed pipeline that recognises names; empty where there is none."""
    if importlib.util.find_spec("spacy") is None:
        return ""
    installed = sorted(importlib.import_module("spacy").util.get_installed_models())
    return next((name for name in installed if "ner" in _load(name).pipe_names), "")


@cache
def _load(pipeline: str) -> Any:
    """A pipeline without the parts that names do not need."""
    spacy: Any = importlib.import_module("spacy")
    return spacy.load(pipeline, exclude=["tagger", "parser", "lemmatizer", "attribute_ruler"])


RULE: Rule = Names()
