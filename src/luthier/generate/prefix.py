"""What prompts begin with in common (a system prompt, examples), computed once and kept from batch to batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from transformers.cache_utils import Cache

from luthier.generate.cache import new_cache

# Below this many tokens, the extra forward pass costs more than the tokens it saves.
MIN_SHARED_TOKENS = 16


def common_prefix_length(prompts: Sequence[tuple[int, ...]]) -> int:
    """Number of leading tokens that are equal in all prompts."""
    # The least and the greatest in dictionary order differ wherever any two differ.
    low, high = min(prompts), max(prompts)
    for position, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return position
    return min(len(low), len(high))


def shared_tokens(prompts: Sequence[tuple[int, ...]]) -> int:
    """How much of a batch's prompts is worth computing once; every prompt keeps a token of its own to predict from."""
    if len(prompts) < 2:
        return 0
    length = min(common_prefix_length(prompts), min(map(len, prompts)) - 1)
    return length if length >= MIN_SHARED_TOKENS else 0


class PrefixMemory:
    """The cache of the prefix used last. The next batch's prefix reuses what is equal and computes the rest."""

    def __init__(self, forward: Callable[[tuple[int, ...], Cache], None]) -> None:
        """`forward` appends tokens (their positions continue the cache's) to a cache of one row."""
        self._forward = forward
        self._ids: tuple[int, ...] = ()
        self._cache = new_cache()

    def recall(self, ids: tuple[int, ...]) -> Cache:
        """The cache of exactly these tokens; valid until the next call."""
        if self._ids:
            known = common_prefix_length([self._ids, ids])
            if known == 0:
                self._cache = new_cache()
            else:
                self._cache.crop(known - len(self._ids))
            self._ids = self._ids[:known]
        if len(self._ids) < len(ids):
            self._forward(ids[len(self._ids) :], self._cache)
        self._ids = ids
        return self._cache
