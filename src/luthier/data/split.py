"""Training and validation rows that do not leak into one another.

Rows belong to one *group*, and go to one side, when they are connected by

* an equal prompt: all messages before the last assistant turn, compared without case, punctuation and spacing;
* equal content;
* near-equal content, system messages left out: see `near_duplicates`.

Each group's place is a hash of its content, salted with the seed, so row order does not matter and new rows leave old ones
where they are. The exception is on purpose: with few rows a pure threshold on the hash may hold out nothing, or half, so
groups next to the threshold move until the held-out rows are between half and one and a half of what was asked for, and at
least one. In sets of a thousand rows and more that limit practically never binds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.data.content import Content, Item, prompt_key
from luthier.data.near_duplicates import near_duplicate_pairs


class Split(NamedTuple):
    """Row indices of both sides, ascending, and how the rows cling together."""

    train: list[int]
    validation: list[int]
    num_groups: int
    largest_group: int


def split(conversations: Sequence[Item], fraction: float, seed: int) -> Split:
    """Hold out about `fraction` of the rows, whole groups at a time.

    With one group only, nothing can be held out without a leak: `validation` is empty. At least one row stays for training.
    """
    groups = group_rows(conversations)
    num_groups = int(groups.max()) + 1 if len(groups) else 0
    sizes = np.bincount(groups, minlength=num_groups)
    largest = int(sizes.max()) if num_groups else 0
    places = _group_places(conversations, groups, num_groups, seed)
    held_out = _hold_out(places, sizes, fraction)
    train = [row for row, group in enumerate(groups) if not held_out[group]]
    validation = [row for row, group in enumerate(groups) if held_out[group]]
    return Split(train, validation, num_groups, largest)


def group_rows(items: Sequence[Item]) -> NDArray[np.int64]:
    """A group number for each row, counted from 0; rows of one group must not be separated."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not items:
        return np.zeros(0, np.int64)
    contents = [Content(item) for item in items]
    edges = [*_equal_pairs([c.prompt_key for c in contents]), *_equal_pairs([c.content_key for c in contents])]
    edges += near_duplicate_pairs(c.compared for c in contents)
    left, right = np.array(edges, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(len(items), len(items)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _equal_pairs(keys: Sequence[str]) -> Iterator[tuple[int, int]]:
    first: dict[str, int] = {}
    for index, key in enumerate(keys):
        other = first.setdefault(key, index)
        if other != index:
            yield other, index


# --- which side ---------------------------------------------------------------------------------------------------


def _group_places(items: Sequence[Item], groups: NDArray[np.int64], num_groups: int, seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) per group: the smallest hash among its rows' prompts."""
    places = np.ones(num_groups)
    salt = str(seed).encode()
    for item, group in zip(items, groups, strict=True):
        digest = hashlib.blake2b(prompt_key(item).encode("utf-8", "surrogatepass"), digest_size=8, key=salt).digest()
        places[group] = min(places[group], int.from_bytes(digest, "big") / 2**64)
    return places


def _hold_out(places: NDArray[np.float64], sizes: NDArray[np.int64], fraction: float) -> NDArray[np.bool_]:
    """Which groups are held out: those below `fraction`, in the order of their places, within the limits on rows."""
    held_out = np.zeros(len(places), bool)
    num_rows = int(sizes.sum())
    if fraction <= 0 or len(places) < 2:
        return held_out
    fewest = max(1, math.ceil(0.5 * fraction * num_rows))
    most = min(num_rows - 1, max(1, math.floor(1.5 * fraction * num_rows)))
    num_held_out = 0
    for group in np.argsort(places, kind="stable"):
        wanted = places[group] < fraction or num_held_out < fewest
        if wanted and num_held_out + sizes[group] <= most:
            held_out[group] = True
            num_held_out += int(sizes[group])
    if not num_held_out:  # every group is larger than the limit: the smallest is the least bad
        held_out[min(range(len(places)), key=lambda group: (sizes[group], places[group]))] = True
    return held_out
