"""Token ids of an answer to its text as they come: whole characters only, up to a stop string, never past one.

A piece that may be the beginning of a stop string is held back until it is clear that it is none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

Decode = Callable[[Sequence[int]], str]
_UNFINISHED = "\ufffd"


class AnswerText:
    """The text of one answer.

    Args:
        decode: Token ids to text.
        stop_ids: End the answer and are no part of its text.
        stops: So does any of these strings.

    Attributes:
        text: All that is known of it, what is held back included; final once `end` was called.
        is_stopped: Whether a stop string was met.
    """

    def __init__(self, decode: Decode, stop_ids: Collection[int], stops: Sequence[str] = ()) -> None:
        self._decode, self._stop_ids, self._stops = decode, stop_ids, tuple(stops)
        self._longest_stop = max(map(len, stops), default=0)
        self._ids: list[int] = []
        # Tokens are decoded behind a few earlier ones: alone, many tokenizers would drop the space before a word.
        self._from, self._known = 0, 0
        self._given = 0
        self.text = ""
        self.is_stopped = False

    def take(self, token: int) -> None:
        """The next token; after a stop string none may follow."""
        assert not self.is_stopped
        if token in self._stop_ids:
            return
        self._ids.append(token)
        whole = self._decode(self._ids[self._from :])
        if not whole.endswith(_UNFINISHED):
            self._grow(whole)
            self._from, self._known = self._known, len(self._ids)

    def end(self) -> None:
        """No token follows; a character that was left unfinished shows as U+FFFD."""
        if not self.is_stopped and self._known < len(self._ids):
            self._grow(self._decode(self._ids[self._from :]))
            self._known = len(self._ids)
        self._longest_stop = 0

    def new(self) -> str:
        """What can be shown and was not yet."""
        ready = len(self.text) - (0 if self.is_stopped else self._num_held())
        piece, self._given = self.text[self._given : ready], max(self._given, ready)
        return piece

    def _grow(self, whole: str) -> None:
        searched = max(0, len(self.text) - self._longest_stop + 1)
        self.text += whole[len(self._decode(self._ids[self._from : self._known])) :]
        places = [place for stop in self._stops if (place := self.text.find(stop, searched)) >= 0]
        if places:
            self.text, self.is_stopped = self.text[: min(places)], True

    def _num_held(self) -> int:
        """Length of the longest end of the text with which a stop string could begin."""
        for length in range(min(self._longest_stop - 1, len(self.text)), 0, -1):
            ending = self.text[-length:]
            if any(stop.startswith(ending) for stop in self._stops):
                return length
        return 0
