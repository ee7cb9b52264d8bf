"""Which tokens have been seen, in memory that does not grow.

A set of ten million tokens takes more than a gigabyte. This table keeps 32 bits of each token's 64-bit hash, at a place
that the rest of the hash names: 5 bytes a token. Two different tokens are taken for the same with a chance of about one
in a billion each, so once in some hundred runs of ten million; of the table's bytes only those that are used take memory.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

CAPACITY = 10_000_000
"""Tokens that are remembered at a time; then it begins anew."""

_LOAD = 0.8
"""Tokens a slot: above it, looking for a free one takes long."""
_LEAST = 4096


class Seen:
    """Finds repeated tokens.

    Args:
        capacity: tokens that are remembered at a time.

    Attributes:
        overflowed: there were more: what is farther apart than that is not found.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._size = max(_LEAST, int(capacity / _LOAD))
        self._most = int(self._size * _LOAD)
        self._count = 0
        self._slots = self._fresh()
        self.overflowed = False

    def _fresh(self) -> memoryview:
        # Anonymous pages: they are given when they are first written.
        return memoryview(mmap.mmap(-1, self._size * 4)).cast("I")

    def repeated(self, tokens: Sequence[bytes]) -> list[int]:
        """Remember these tokens; returns the places of those that were seen before, ascending."""
        if self._count + len(tokens) > self._most and self._count:
            self._slots = self._fresh()
            self._count = 0
            self.overflowed = True
        slots, size = self._slots, self._size
        found: list[int] = []
        for place, number in enumerate(map(hash, tokens)):
            slot = number % size
            mark = (number >> 32) & 0xFFFFFFFF or 1
            while other := slots[slot]:
                if other == mark:
                    found.append(place)
                    break
                slot += 1
                if slot == size:
                    slot = 0
            else:
                slots[slot] = mark
        self._count += len(tokens) - len(found)
        return found
