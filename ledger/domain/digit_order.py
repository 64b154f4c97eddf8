"""Puts many whole numbers in order by their digits: without comparisons, which take longer."""

import numpy as np

from ledger.domain.arrays import Ints
from ledger.domain.compiled import compiled

# A table of so many counts stays in the cache that is closest to a core.
_DIGIT_BITS = 11
_DIGITS = 1 << _DIGIT_BITS
_WORD_BITS = 63


@compiled
def in_order(numbers: Ints, low: int) -> Ints:
    """Numbers, none below zero, by all of their bits from `low` on; those alike in them stay in
    their order. What was handed in is used up."""
    varying = np.int64(0)
    for n in range(numbers.size):
        varying |= numbers[n] ^ numbers[0]
    begins, moved = np.empty(_DIGITS, np.int64), np.empty_like(numbers)
    for bits in range(low, _WORD_BITS, _DIGIT_BITS):
        if (varying >> bits) & (_DIGITS - 1) == 0:
            continue
        _count(numbers, bits, begins)
        for n in range(numbers.size):
            digit = (numbers[n] >> bits) & (_DIGITS - 1)
            moved[begins[digit]] = numbers[n]
            begins[digit] += 1
        numbers, moved = moved, numbers
    return numbers


@compiled
def _count(numbers: Ints, bits: int, begins: Ints) -> None:
    """Fill in where numbers of each digit begin."""
    begins[:] = 0
    for n in range(numbers.size):
        begins[(numbers[n] >> bits) & (_DIGITS - 1)] += 1
    before = 0
    for digit in range(_DIGITS):
        count = begins[digit]
        begins[digit] = before
        before += count
