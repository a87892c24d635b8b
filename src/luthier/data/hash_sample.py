"""A random sample of rows that come one by one, the same whatever their order: those with the smallest hashes (bottom-k
sketch).
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

Value = TypeVar("Value")


class HashSample(Generic[Value]):
    """Keeps the `most` values of smallest key; keys are hashes, and equal ones count once.

    Of hashes that are spread evenly the smallest are a random sample without replacement (Bar-Yossef et al. 2002).
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[int, Value] = {}
        self._largest: list[int] = []
        """Negated keys: a heap whose first is the largest key kept."""

    def wants(self, key: int) -> bool:
        """Whether a value of this key would be kept now. Most are not: ask before making one."""
        return key not in self._values and (len(self._values) < self._most or key < -self._largest[0])

    def add(self, key: int, value: Value) -> None:
        """Keep a value, if it belongs to the sample."""
        if not self.wants(key):
            return
        self._values[key] = value
        if len(self._largest) < self._most:
            heapq.heappush(self._largest, -key)
        else:
            del self._values[-heapq.heapreplace(self._largest, -key)]

    def values(self) -> list[Value]:
        """The sample, by key."""
        return [self._values[key] for key in sorted(self._values)]

    def __len__(self) -> int:
        return len(self._values)
