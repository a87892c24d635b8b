"""Token ids and places of text, word by word from a table: byte-level BPE several times as fast as the tokenizer itself.

Such a tokenizer first cuts text into pieces by a pattern, and no piece reaches over a space that follows something else: "a b"
is cut in front of the space. So the tokens of a text are those of its words (with the space in front of them), and of the control
tokens between them; most words have been seen before.

Which tokenizers cut like that is read from their definition: only patterns made of the parts listed here, which have been looked
at one by one. Others, and all of another kind (SentencePiece), are left to the tokenizer. A trial at the start holds both
against each other.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LEAD = r"[^\r\n\p{L}\p{N}]?"
_SAFE_PARTS = frozenset(
    {
        *("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", _CONTRACTIONS),
        *(r" ?\p{L}+", r" ?\p{N}+", r"\p{N}", r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+"),
        *(rf"{_LEAD}\p{{L}}+", rf"{_LEAD}{_UPPER}*{_LOWER}+", rf"{_LEAD}{_UPPER}+{_LOWER}*"),
        *(rf"{_LEAD}{_UPPER}*{_LOWER}+{_CONTRACTIONS}?", rf"{_LEAD}{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"),
        *(r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""", r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"),
        *(
            r" ?[^\s\p{L}\p{N}]+",
            r" ?[^\s\p{L}\p{N}]+[\r\n]*",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            r" ?[\p{P}\p{S}]+[\r\n]*",
        ),
        *(r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"),
    }
)
"""What pieces may be: nothing here matches a space behind anything but white space."""

_ODD_SPACES = "\u180e\u200b\ufeff"
"""White space to some, not to others."""
_SPACE_BEHIND_SPACE = re.compile(rf"[\s{_ODD_SPACES}] ")
_LONE_SPACE = re.compile(rf"(?<=[^\s{_ODD_SPACES}]) ")
_CUT = "\0"
LONG_CHARACTERS = 1 << 20
_MOST_WORDS, _MOST_CHARACTERS = 400_000, 20_000_000
_TRIALS = (
    "Hello there,  it's 2024!\n\n  - a\tb \r\n c don't  \n",
    "Größe 快 漢字です 👩‍🚀 e\u0301 \u00a0x\u180e y z\u200b  ",
    " leading, trailing ",
    "",
)


class Encoded(NamedTuple):
    """Token ids and the characters that each was made from: ``text[starts[t]:ends[t]]``."""

    ids: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]


class PieceEncoder:
    """Encodes with a table of words. Make it with `of`."""

    def __init__(self, backend: Tokenizer) -> None:
        self._backend = backend
        self._table = _Table(backend)
        added = [token.content for token in backend.get_added_tokens_decoder().values() if not token.normalized]
        longest_first = sorted(added, key=len, reverse=True)
        self._added = re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")

    @classmethod
    def of(cls, backend: Tokenizer) -> PieceEncoder | None:
        """One, if the tokenizer cuts text in front of spaces; None otherwise."""
        if not _cuts_at_spaces(backend):
            return None
        added = [token.content for token in backend.get_added_tokens_decoder().values()]
        encoder = cls(backend)
        trials = [*_TRIALS, *(f"a {content}b {content}{content} c" for content in added[:50]), "".join(added[:50])]
        return encoder if encoder._agrees(trials) else None

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Ids and places, as the tokenizer gives them without adding special tokens."""
        pieces: list[str] = []
        ends: list[int] = []
        for text in texts:
            pieces += self._cut(text) if len(text) <= LONG_CHARACTERS else [""]
            ends.append(len(pieces))
        found = self._table.look_up(pieces)
        borders = [0, *ends]
        results: list[Encoded] = []
        for text, (first, last) in zip(texts, itertools.pairwise(borders), strict=True):
            tokens = slice(found.first_tokens[first], found.first_tokens[last])
            begin = found.first_characters[first]
            encoded = Encoded(found.ids[tokens], found.starts[tokens] - begin, found.ends[tokens] - begin)
            results.append(encoded if len(text) <= LONG_CHARACTERS else self._encode_long(text))
        return results

    def _encode_long(self, text: str) -> Encoded:
        """A text of many millions of characters, part by part: the tokenizer alone takes a hundred bytes for each of them."""
        parts: list[Encoded] = []
        start = 0
        while start < len(text):
            end = self._long_cut(text, start + LONG_CHARACTERS)
            part = text[start:end]
            encoded = self.encode([part])[0] if len(part) <= LONG_CHARACTERS else self._whole(part)
            parts.append(Encoded(encoded.ids, encoded.starts + start, encoded.ends + start))
            start = end
        return Encoded(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _long_cut(self, text: str, before: int) -> int:
        """The last place before a character at which text can be cut; the first one behind where there is none."""
        if before >= len(text):
            return len(text)
        window = text[before - LONG_CHARACTERS // 2 : before]
        last = max((found.start() for found in _LONE_SPACE.finditer(window)), default=0)
        if last:
            return before - LONG_CHARACTERS // 2 + last
        behind = _LONE_SPACE.search(text, before)
        return behind.start() if behind else len(text)

    def _whole(self, text: str) -> Encoded:
        encoding = self._backend.encode(text, add_special_tokens=False)
        places = np.array(encoding.offsets, np.int32).reshape(-1, 2)
        return Encoded(np.array(encoding.ids, np.int32), places[:, 0].copy(), places[:, 1].copy())

    def _cut(self, text: str) -> list[str]:
        if _CUT in text:
            return [text]
        marked = _CUT.join(self._added.split(text))
        if _SPACE_BEHIND_SPACE.search(text):
            return _LONE_SPACE.sub(f"{_CUT} ", marked).split(_CUT)
        return marked.replace(" ", f"{_CUT} ").split(_CUT)

    def _agrees(self, texts: Sequence[str]) -> bool:
        whole = self._backend.encode_batch(texts, add_special_tokens=False)
        return all(
            ours.ids.tolist() == theirs.ids
            and list(zip(ours.starts.tolist(), ours.ends.tolist(), strict=True)) == theirs.offsets
            for ours, theirs in zip(self.encode(texts), whole, strict=True)
        )


class _Found(NamedTuple):
    """Tokens of pieces laid end to end; `first_tokens` and `first_characters` say where each piece begins, and the end."""

    ids: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    first_tokens: NDArray[np.int64]
    first_characters: NDArray[np.int32]


class _Numbers(dict[str, int]):
    """Gives each new piece the next number."""

    def __missing__(self, piece: str) -> int:
        number = self[piece] = len(self)
        return number


class _Table:
    """Pieces with their tokens, in flat arrays that grow."""

    def __init__(self, backend: Tokenizer) -> None:
        self._backend = backend
        self._clear()

    def _clear(self) -> None:
        self._numbers = _Numbers()
        self._num_tokens = 0
        self._num_characters = 0
        self._firsts = np.zeros(1 << 12, np.int64)
        self._counts = np.zeros(1 << 12, np.int64)
        self._lengths = np.zeros(1 << 12, np.int32)
        self._ids, self._starts, self._ends = (np.zeros(1 << 13, np.int32) for _ in range(3))

    def look_up(self, pieces: Sequence[str]) -> _Found:
        """Tokens of all pieces; those that are new are encoded first."""
        if len(self._numbers) > _MOST_WORDS or self._num_characters > _MOST_CHARACTERS:
            self._clear()
        known = len(self._numbers)
        numbers = np.fromiter(map(self._numbers.__getitem__, pieces), np.int64, len(pieces))
        if len(self._numbers) > known:
            self._learn(known)
        counts = self._counts[numbers]
        first_tokens = np.concatenate([[0], np.cumsum(counts)])
        first_characters = np.concatenate([[0], np.cumsum(self._lengths[numbers])]).astype(np.int32)
        places = np.repeat(self._firsts[numbers] - first_tokens[:-1], counts) + np.arange(first_tokens[-1])
        begin = np.repeat(first_characters[:-1], counts)
        return _Found(
            self._ids[places], self._starts[places] + begin, self._ends[places] + begin, first_tokens, first_characters
        )

    def _learn(self, known: int) -> None:
        new = list(self._numbers)[known:]
        encodings = self._backend.encode_batch(new, add_special_tokens=False)
        counts = [len(encoding.ids) for encoding in encodings]
        last = self._num_tokens + sum(counts)
        self._firsts, self._counts, self._lengths = (
            _grown(array, known + len(new)) for array in (self._firsts, self._counts, self._lengths)
        )
        self._ids, self._starts, self._ends = (_grown(array, last) for array in (self._ids, self._starts, self._ends))
        rows, tokens = slice(known, known + len(new)), slice(self._num_tokens, last)
        self._counts[rows] = counts
        self._firsts[rows] = self._num_tokens + np.cumsum([0, *counts[:-1]])
        self._lengths[rows] = [len(piece) for piece in new]
        self._ids[tokens] = [token for encoding in encodings for token in encoding.ids]
        self._starts[tokens] = [start for encoding in encodings for start, _ in encoding.offsets]
        self._ends[tokens] = [end for encoding in encodings for _, end in encoding.offsets]
        self._num_tokens = last
        self._num_characters += sum(map(len, new))


def _grown(array: NDArray[Any], size: int) -> NDArray[Any]:
    """The array with room for so many values."""
    if size <= len(array):
        return array
    return np.concatenate([array, np.zeros(max(size, 2 * len(array)) - len(array), array.dtype)])


# --- which tokenizers -----------------------------------------------------------------------------------------------------


def _cuts_at_spaces(backend: Tokenizer) -> bool:
    model: Any = backend.model
    added = backend.get_added_tokens_decoder().values()
    return (
        isinstance(model, BPE)
        and not model.dropout
        and _composes_only(_definition(backend.normalizer))
        and _is_safe_cutter(_definition(backend.pre_tokenizer))
        and all(map(_is_simple, added))
    )


def _definition(component: Any) -> dict[str, Any] | None:
    """A part of a tokenizer as it stands in tokenizer.json; the whole would hold the vocabulary."""
    return None if component is None else json.loads(component.__getstate__())


def _composes_only(normalizer: dict[str, Any] | None) -> bool:
    """Whether it does nothing, or NFC: no sign composes with a space before it."""
    if normalizer is None:
        return True
    if normalizer["type"] == "Sequence":
        return all(map(_composes_only, normalizer["normalizers"]))
    return normalizer["type"] == "NFC"


def _is_safe_cutter(cutter: dict[str, Any] | None) -> bool:
    """Byte-level, and cut by parts that have been looked at."""
    if cutter is None:
        return False
    *before, last = cutter["pretokenizers"] if cutter["type"] == "Sequence" else [cutter]
    if last["type"] != "ByteLevel" or last["add_prefix_space"]:
        return False
    cuts = [_is_safe_split(part) for part in before]
    return all(cuts) and (bool(cuts) or last.get("use_regex", True))


def _is_safe_split(part: dict[str, Any]) -> bool:
    if part["type"] == "Digits":
        return True
    if part["type"] != "Split" or "Regex" not in part["pattern"]:
        return False
    keeps_all = (part["behavior"], part["invert"]) in (("Isolated", False), ("Removed", True))
    pattern = part["pattern"]["Regex"].replace("\r", "\\r").replace("\n", "\\n")
    return keeps_all and all(piece in _SAFE_PARTS for piece in _alternatives(pattern))


def _alternatives(pattern: str) -> list[str]:
    """The parts between the bars that stand outside of all brackets."""
    parts, depth, escaped, in_class = [""], 0, False, False
    for sign in pattern:
        if not escaped and not in_class and sign == "|" and depth == 0:
            parts.append("")
            continue
        parts[-1] += sign
        if escaped or sign == "\\":
            escaped = not escaped
        elif in_class or sign == "[":
            in_class = sign != "]"
        else:
            depth += (sign == "(") - (sign == ")")
    return parts


def _is_simple(token: AddedToken) -> bool:
    """Whether an added token swallows nothing beside itself and holds no white space."""
    swallows = token.lstrip or token.rstrip or token.single_word
    return not swallows and not re.search(rf"[\s{_ODD_SPACES}{_CUT}]", token.content)
