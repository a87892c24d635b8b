"""Markers of a chat template around a text are taken away (``<|im_start|>user … <|im_end|>``, ``### Response:``, ``[INST]``).

A marker in the middle of a text says that it holds several turns, or speaks of markers: such a text stays whole, and is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from luthier.data.clean.repair import Edit, Edits, Given, Mend, RepairRow
from luthier.data.lint.row import LintRow
from luthier.data.lint.template_markers import MARKER

_ROLE = re.compile(
    r"[ \t]*(?:system|user|assistant|model|human|tool)[ \t]*(?:\n|(?=<\|end_header_id\|>|<\|message\|>))"
)
_BEFORE_A_ROLE = re.compile(r"im_start|start_header_id|start_of_turn|start_of_role|<\|start\|>|START_OF_TURN_TOKEN")


def start(given: Given) -> Edits:
    """With the model's own control tokens, where they are given."""
    markers = _markers(given)

    def edits(row: RepairRow) -> Iterator[Edit]:
        for place, before in row.texts():
            after = repaired(before, markers)
            if after != before:
                yield Edit(place.path, after)

    return edits


def repaired(text: str, markers: re.Pattern[str] = MARKER) -> str:
    """The text without markers at its ends; as it is, if there are others, or nothing else."""
    if not markers.search(text):
        return text
    inner = _without_end(_without_start(text, markers), markers)
    return text if markers.search(inner) or not inner.strip() else inner


def _without_start(text: str, markers: re.Pattern[str]) -> str:
    while found := markers.match(text.lstrip()):
        text = text.lstrip()[found.end() :]
        role = _ROLE.match(text) if _BEFORE_A_ROLE.search(found.group()) else None
        text = text[role.end() :] if role else text
        text = text.lstrip(" \t") if role is None else text
    return text


def _without_end(text: str, markers: re.Pattern[str]) -> str:
    while True:
        text_end = len(text.rstrip())
        last = next((m for m in markers.finditer(text) if m.end() == text_end), None)
        if last is None:
            return text
        text = text[: last.start()].rstrip()


def _is_left(row: LintRow, given: Given) -> bool:
    markers = _markers(given)
    return any(markers.search(text) for text in row.texts)


def _markers(given: Given) -> re.Pattern[str]:
    if not given.special_tokens:
        return MARKER
    longest_first = sorted(given.special_tokens, key=len, reverse=True)
    return re.compile("|".join([MARKER.pattern, *map(re.escape, longest_first)]), MARKER.flags)


REPAIR = Mend("template_markers", "take markers of chat templates from the ends of texts", False, start, _is_left)
