"""Marks in text that a template renders: they show where a stretch of it has gone, and are taken out again.

Marks are characters of Unicode's last private plane that do not occur in the conversation at hand. They are no white space,
so what a template trims, splits or compares stays the same.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_FIRST_PRIVATE = 0x10F000
_MARKS = "".join(map(chr, range(_FIRST_PRIVATE, _FIRST_PRIVATE + 4)))


class Rendering(NamedTuple):
    """Rendered text and character ranges in it.

    Attributes:
        literals: Stretches that look like control tokens but were written by people.
        turn: From the first to behind the last character that the marked message's author wrote, where one was marked
            and anything of it is in the text.
    """

    text: str
    literals: tuple[tuple[int, int], ...] = ()
    turn: tuple[int, int] | None = None


def free_marks(text: str) -> str:
    """Four characters of the last private plane that the text does not contain."""
    used = set() if text.isascii() else {c for c in text if ord(c) >= _FIRST_PRIVATE}
    if not used:
        return _MARKS
    free = (chr(code) for code in range(_FIRST_PRIVATE, 0x10FFFE) if chr(code) not in used)
    return "".join(next(free) for _ in range(4))


def mark_author(message: dict[str, Any], marks: str) -> dict[str, Any]:
    """Put start marks where a template may begin to show what the author wrote, and an end mark behind its last character.

    Templates cut thinking off (``content.split('</think>')[-1]``), so a single start mark could be cut off with it: every
    word gets one, and so does what follows a closing bracket. White space at both ends stays outside, for `trim`.
    """
    start, end = marks[2], marks[3]

    def begin(text: str) -> str:
        return re.sub(r"(?<!\S)(?=\S)|(?<=[>\]])(?=\S)", start, text)

    marked = dict(message)
    for field in ("reasoning_content", "thinking"):
        if isinstance(message.get(field), str):
            marked[field] = begin(message[field])
    content = message["content"]
    core = content.rstrip()
    if core:
        marked["content"] = f"{begin(core)}{end}{content[len(core) :]}"
    elif message.get("tool_calls"):
        calls = [{**call, "function": dict(call["function"])} for call in message["tool_calls"]]
        calls[0]["function"]["name"] = f"{start}{calls[0]['function']['name']}{end}"
        marked["tool_calls"] = calls
    return marked


def read_marks(text: str, marks: str) -> Rendering:
    """Take the marks out and say where they were. A mark whose partner was cut off is only taken out."""
    literal_open, literal_close, turn_start, turn_end = marks
    pieces: list[str] = []
    literals: list[tuple[int, int]] = []
    position, opened = 0, None
    first_start, last_end = None, None
    for piece in re.split(f"([{marks}])", text):
        if piece == literal_open:
            opened = position
        elif piece == literal_close:
            if opened is not None and position > opened:
                literals.append((opened, position))
            opened = None
        elif piece == turn_start:
            first_start = position if first_start is None else first_start
        elif piece == turn_end:
            last_end = position
        else:
            pieces.append(piece)
            position += len(piece)
    turn = None if last_end is None else (last_end if first_start is None else min(first_start, last_end), last_end)
    return Rendering("".join(pieces), tuple(literals), turn)
