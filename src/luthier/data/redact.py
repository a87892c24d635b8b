"""Texts → the same without personal data and secrets. Equal values get equal replacements as long as one `Redactor` does it.

Kinds are groups of what `data.personal` finds: those of `find.FINDERS`, `secret` (keys of a known form), `possible_secret`
(values that a password or key is set to). What a text says about a value ("call me at") stays.
"""

from __future__ import annotations

import difflib
import json
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from luthier.data.personal.find import FINDERS, find_assigned_secrets, find_known_secrets, find_personal_data
from luthier.data.personal.national_id import NATIONAL_IDS
from luthier.data.personal.replacement import STYLES, Style, fake, identity, keyed, mask, tag
from luthier.data.personal.span import Span
from luthier.errors import InputError

PERSONAL = tuple(FINDERS)
KINDS = (*PERSONAL, "secret", "possible_secret")
_BEGIN, _END = (rf"-----{word} (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----" for word in ("BEGIN", "END"))
_KEY_BLOCK = re.compile(rf"{_BEGIN}[A-Za-z0-9+/=:,.\s-]*?{_END}|{_BEGIN}(?:\s+[A-Za-z0-9+/=]{{16,}})*")
_KEY_BYTES = 32


class _Place(NamedTuple):
    group: str
    span: Span


def choose_kinds(names: Sequence[str] | None) -> tuple[str, ...]:
    """The kinds named, or all.

    Raises:
        InputError: There is no such kind.
    """
    for name in names or ():
        if name not in KINDS:
            near = difflib.get_close_matches(name, KINDS, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Kinds: {', '.join(KINDS)}."
            raise InputError(f"There is no kind '{name}'. {hint}")
    return tuple(dict.fromkeys(names)) if names else KINDS


class Redactor:
    """Replaces, and remembers which value became what.

    Args:
        kinds: Of `KINDS`; None for all.
        style: Of `replacement.STYLES`.
        key: For the style hash; equal keys give equal hashes. None for a random one, which nobody can know.

    Attributes:
        counts: Places replaced, by the finest kind (`us_ssn`, `github_token`).
        num_tags_for_fakes: Places where no fake was left or safe, and a tag stands.
    """

    def __init__(self, kinds: Sequence[str] | None = None, style: Style = "tag", key: bytes | None = None) -> None:
        if style not in STYLES:
            raise InputError(f"There is no style '{style}'. Styles: {', '.join(STYLES)}.")
        self.kinds = choose_kinds(kinds)
        self.style = style
        self._key = key or secrets.token_bytes(_KEY_BYTES)
        self._known: dict[tuple[str, str], tuple[int, str]] = {}
        self._numbers: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.num_tags_for_fakes = 0

    def redact(self, text: str) -> str:
        """The text without what is to be replaced."""
        places = self.places(text)
        if not places:
            return text
        self.counts.update(place.span.kind for place in places)
        words = [self._replacement(place, place.span.of(text)) for place in places]
        if self.style == "fake":
            words = self._safe(text, places, words)
        return _joined(text, places, words)

    def redact_json(self, text: str) -> str:
        """The same for JSON as text: only the texts in it change, so that it stays JSON. What is no JSON is taken for words."""
        try:
            value = json.loads(text)
        except ValueError:
            return self.redact(text)
        redacted = self._in_value(value)
        return text if redacted == value else json.dumps(redacted, ensure_ascii=False)

    def places(self, text: str) -> list[_Place]:
        """What is to be replaced, in order; none overlaps another. A secret goes before what it contains."""
        found: list[_Place] = []
        for place in self._candidates(text):
            if place.group in self.kinds and not any(
                place.span.start < other.span.end and other.span.start < place.span.end for other in found
            ):
                found.append(place)
        return sorted(found, key=lambda place: place.span.start)

    def _candidates(self, text: str) -> Iterator[_Place]:
        if "secret" in self.kinds:
            for span in find_known_secrets(text):
                yield _Place("secret", _whole_key(text, span) if span.kind == "private_key" else span)
        if "possible_secret" in self.kinds:
            yield from (_Place("possible_secret", span) for span in find_assigned_secrets(text))
        if any(kind in PERSONAL for kind in self.kinds):
            yield from (
                _Place("national_id" if span.kind in NATIONAL_IDS else span.kind, span)
                for span in find_personal_data(text)
            )

    def _replacement(self, place: _Place, value: str) -> str:
        kind = place.span.kind
        if self.style == "mask":
            return mask(value)
        same = identity(place.group, value)
        if self.style == "hash":
            return keyed(kind, same, self._key)
        known = self._known.get((kind, same))
        if known is None:
            self._numbers[kind] += 1
            number = self._numbers[kind]
            made = fake(kind, value, number, self._is_found) if self.style == "fake" else None
            known = self._known[kind, same] = (number, made or tag(kind, number))
        return known[1]

    def _safe(self, text: str, places: Sequence[_Place], words: list[str]) -> list[str]:
        """Tags for all, where fakes would be taken for personal data beside the words that stand there."""
        if self._is_found(_joined(text, places, words)):
            numbers = [self._known[p.span.kind, identity(p.group, p.span.of(text))][0] for p in places]
            words = [tag(place.span.kind, number) for place, number in zip(places, numbers, strict=True)]
        self.num_tags_for_fakes += sum(word.startswith("[") for word in words)
        return words

    def _is_found(self, text: str) -> bool:
        return bool(self.places(text))

    def _in_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, list):
            return [self._in_value(inner) for inner in value]
        return {key: self._in_value(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _joined(text: str, places: Sequence[_Place], words: Sequence[str]) -> str:
    pieces: list[str] = []
    end = 0
    for place, word in zip(places, words, strict=True):
        pieces += [text[end : place.span.start], word]
        end = place.span.end
    return "".join([*pieces, text[end:]])


def _whole_key(text: str, span: Span) -> Span:
    """A private key to its end, which its finder does not look for."""
    found = _KEY_BLOCK.match(text, span.start)
    return span if found is None else Span(span.kind, span.start, max(span.end, found.end()))
