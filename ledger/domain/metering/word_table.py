"""Numbers of rows of words, found by searching: many take little room, and are found at once."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ledger.domain.arrays import Ints
from ledger.domain.metering.numbering import searched

Words = NDArray[np.uint64]
UNMET = -1
# An odd number, so that words that differ in one column alone never come to the same code.
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(slots=True)
class WordTable:
    """Rows of words, each with a number, in the order of their codes.

    A row whose code is another's is not kept: it is met anew each time.
    """

    _codes: Words = field(default_factory=lambda: np.empty(0, np.uint64))
    _words: Words = field(default_factory=lambda: np.empty((0, 0), np.uint64))
    _numbers: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    def find(self, words: Words) -> Ints:
        """The number of each row, UNMET where it has none."""
        if not self._codes.size:
            return np.full(words.shape[0], UNMET, np.int64)
        at = searched(self._codes, _mixed(words))
        at[at == self._codes.size] = 0
        met = (self._words[at] == words).all(axis=1)
        numbers: Ints = np.where(met, self._numbers[at], UNMET)
        return numbers

    def add(self, words: Words, numbers: Ints) -> None:
        """Keep rows that have none."""
        there = self._words if self._codes.size else words[:0]
        mixed = np.concatenate([self._codes, _mixed(words)])
        self._codes, first = np.unique(mixed, return_index=True)
        self._words = np.concatenate([there, words])[first]
        self._numbers = np.concatenate([self._numbers, numbers])[first]


def _mixed(words: Words) -> Words:
    codes = words[:, 0].copy()
    for n in range(1, words.shape[1]):
        codes = codes * _MIX ^ words[:, n]
    return codes
