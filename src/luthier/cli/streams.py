"""The process's streams made safe to use: closed, ended by their reader, or without Unicode."""

from __future__ import annotations

import codecs
import os
import sys
from typing import Any, TextIO

PLAIN = {
    "·": "-", "…": "...", "×": "x", "−": "-", "–": "-", "—": "-", "≤": "<=", "≥": ">=", "∞": "inf", "→": "->", "←": "<-",
    "✓": "ok", "✗": "FAILED", "⏎": "\\n", "⇥": "\\t", "␍": "\\r", "“": '"', "”": '"', "’": "'", "█": "#", "━": "=",
}  # fmt: skip
"""What stands for our own signs where the terminal's encoding has none of them."""

PLAIN_SIGNS = "luthier-plain"


def _in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(PLAIN.get(sign, "?") for sign in missing), error.end


def prepare_streams() -> None:
    """Give a closed stream somewhere to go, and let no sign of ours stop a program whose terminal cannot show it."""
    codecs.register_error(PLAIN_SIGNS, _in_plain_signs)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - as long as the process
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us: `luthier … >&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
        elif hasattr(stream, "reconfigure") and "utf" not in (stream.encoding or "").lower():
            stream.reconfigure(errors=PLAIN_SIGNS)


class LastingStream:
    """A text stream that falls silent when nobody is at its other end any more: a training does not end with its terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._is_gone = stream, False

    def write(self, text: str) -> int:
        """As the stream; the number of characters, written or not."""
        if not self._is_gone:
            try:
                return self._stream.write(text)
            except OSError:  # EPIPE: `2>&1 | head`; EIO: the terminal was closed
                self._is_gone = True
        return len(text)

    def flush(self) -> None:
        """As the stream."""
        if not self._is_gone:
            try:
                self._stream.flush()
            except OSError:
                self._is_gone = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
