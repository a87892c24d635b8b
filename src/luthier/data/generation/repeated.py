"""Rows that were made twice, or that only say again what was there before."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.data.content import Content
from luthier.data.near_duplicates import MIN_SIMILARITY, ShingleStore
from luthier.types import Conversation


def repeated(made: Sequence[Conversation], before: Sequence[Conversation] = (), *, near: bool = True) -> dict[int, int]:
    """Which of the rows made say what an earlier one says: by their words, or nearly.

    Args:
        made: What was made.
        before: What was there; never named itself.
        near: Also those that are similar (`near_duplicates`).

    Returns:
        ``{row: earlier row}``; rows of `before` count from −1 downwards.
    """
    rows = [Content(item) for item in (*before, *made)]
    first = len(before)
    found: dict[int, int] = {}
    seen: dict[str, int] = {}
    store, stored = ShingleStore(), []
    for number, row in enumerate(rows):
        earlier = seen.setdefault(row.content_key, number)
        if earlier != number:
            found[number] = earlier
        elif near:
            store.add(row.compared)
            stored.append(number)
    pairs = store.near_duplicate_pairs(MIN_SIMILARITY) if near else []
    for earlier, later in sorted(pairs):
        found.setdefault(stored[later], stored[earlier])
    return {n - first: e - first if e >= first else -1 - e for n, e in sorted(found.items()) if n >= first}
