"""Finds: a tokenizer that does not suit the data: it does not follow its own tokenizer.json (a cl100k vocabulary under
the class GPT2Tokenizer, as Phi-4's, is cut by the wrong rules), it does not give back the text, it has no token for
some signs, or it needs far more tokens than is usual for the language.

Hurts: what is trained is not what the data say. With the wrong rules every text still decodes, from tokens that the
model never saw in this order; with twice the tokens a language costs twice the memory and time, and was hardly in the
model's own training.
Do: repair tokenizer_config.json as the finding says; choose a model that was trained on the language.

A sample of at most 1,000 rows is encoded, 3,000 characters of each. What is usual for a language is in
``bytes_per_token.csv``; below 60 % of that is far worse. Code, numbers and languages that are not in the table are not
judged.
"""

from __future__ import annotations

import csv
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from luthier.data.hash_sample import HashSample
from luthier.data.lint.language_mix import is_prose, language_of, prose_of
from luthier.data.lint.row import ALL_KINDS, Kinds, LintRow
from luthier.data.lint.rule import Given, NeedyRule, Places, Rule, around, finding
from luthier.types import Finding, Severity
from luthier.units import format_share

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from luthier.data.template import ChatTemplate

_MOST_SAMPLED = 1000
_KEPT_CHARACTERS = 3000
_FAR_WORSE = 0.6
_LEAST_TEXTS = 20


class TokenizerRule(NeedyRule):
    """The rule."""

    name = "tokenizer"
    severity: Severity = "warning"
    kinds: Kinds = ALL_KINDS
    looks_at = "texts through the tokenizer and back, and how many tokens they take"
    needs = "a tokenizer (--tokenizer MODEL_OR_FOLDER)"

    def __init__(self, template: ChatTemplate | None = None) -> None:
        self._template = template

    def equip(self, given: Given) -> TokenizerRule | None:
        """With a tokenizer."""
        return TokenizerRule(given.template) if given.template is not None else None

    def start(self) -> _Encoded:
        """A fresh pass."""
        assert self._template is not None
        return _Encoded(self, self._template.tokenizer)


class _Text(NamedTuple):
    number: int
    text: str


class _Encoded:
    def __init__(self, rule: Rule, tokenizer: PreTrainedTokenizerBase) -> None:
        self._rule, self._tokenizer = rule, tokenizer
        self._sample: HashSample[_Text] = HashSample(_MOST_SAMPLED)

    def see(self, row: LintRow) -> None:
        if self._sample.wants(row.content_hash):
            self._sample.add(row.content_hash, _Text(row.number, row.whole[:_KEPT_CHARACTERS]))

    def findings(self, places: Places) -> Iterable[Finding]:
        from luthier.data.tokenizer_check import backend_of, check_tokenizer_round_trip, decode_text, special_id

        if (wrong := check_tokenizer_round_trip(self._tokenizer)) is not None:
            problem, _, advice = wrong.rpartition(". ")
            yield finding(self._rule, (), 0, f"{problem}.", advice, severity="error")
        texts = self._sample.values()
        encoded = backend_of(self._tokenizer).encode_batch([text.text for text in texts], add_special_tokens=False)
        changed = {
            text.number: difference
            for text, tokens in zip(texts, encoded, strict=True)
            if (difference := first_difference(text.text, decode_text(self._tokenizer, tokens.ids)))
        }
        if changed:
            yield finding(
                self._rule,
                places.first(sorted(changed)),
                len(changed),
                f"{len(changed):,} of {len(texts):,} rows looked at do not come back from the tokenizer as they went "
                "in: what is "
                "learnt is another text.",
                "Look at what is lost; where it matters, choose a model whose tokenizer keeps it.",
                changed[min(changed)],
            )
        unknown_id = special_id(self._tokenizer, "unk_token")
        unknown = {
            text.number: around(text.text, *tokens.offsets[tokens.ids.index(unknown_id)])
            for text, tokens in zip(texts, encoded, strict=True)
            if unknown_id is not None and unknown_id in tokens.ids
        }
        if unknown:
            yield finding(
                self._rule,
                places.first(sorted(unknown)),
                len(unknown),
                f"{len(unknown):,} of {len(texts):,} rows looked at hold signs that the tokenizer does not know: they "
                "all become one "
                "token, and the model cannot tell or write them.",
                "Replace the signs, add tokens for them (model.new_tokens), or choose a model that knows them.",
                unknown[min(unknown)],
            )
        yield from self._languages(places, texts, [len(tokens.ids) for tokens in encoded])

    def _languages(self, places: Places, texts: Sequence[_Text], num_tokens: Sequence[int]) -> Iterable[Finding]:
        by_language: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)
        for text, count in zip(texts, num_tokens, strict=True):
            language = language_of(prose) if is_prose(prose := prose_of(text.text)) else None
            if language in usual_bytes():
                by_language[language].append((text.number, len(text.text.encode("utf-8", "replace")), count))
        for language, found in sorted(by_language.items()):
            measured = sum(num_bytes for _, num_bytes, _ in found) / max(1, sum(tokens for _, _, tokens in found))
            usual = usual_bytes()[language]
            if len(found) < _LEAST_TEXTS or measured >= _FAR_WORSE * usual:
                continue
            rows = sorted(number for number, _, _ in found)
            yield finding(
                self._rule,
                places.first(rows),
                len(rows),
                f"Texts in '{language}' ({format_share(len(found) / len(texts))} of those looked at) take "
                f"{measured:.1f} bytes a token; "
                f"with a tokenizer made for the language it would be {usual:.1f}. Training and answers take "
                f"{usual / measured:.1f} "
                "times the tokens, and the model has hardly seen the language.",
                "Choose a model that was trained on the language.",
                f"{measured:.2f} bytes per token",
            )


def first_difference(text: str, back: str) -> str | None:
    """Where a text came back otherwise, but for space at its ends and compatible forms of a sign (NFKC)."""
    before, after = (unicodedata.normalize("NFKC", t).strip() for t in (text, back))
    if before == after:
        return None
    place = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    return f"{around(before, place, place + 1, 12)!r} → {around(after, place, place + 1, 12)!r}"


@cache
def usual_bytes() -> dict[str, float]:
    """Bytes of UTF-8 per token with tokenizers made for many languages, by ISO 639-1 code."""
    table = files("luthier.data.lint").joinpath("bytes_per_token.csv").read_text(encoding="utf-8")
    return {row["language"]: float(row["bytes_per_token"]) for row in csv.DictReader(table.splitlines())}


RULE: Rule = TokenizerRule()
