"""Loops over bytes, compiled: where lines begin and end, what texts are made of.

The bytes come as words too: the word at n is the eight bytes from n on, low byte first, so that
eight are compared at once; whoever makes them pads the bytes by eight.
"""

from typing import Any

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros

from ledger.domain.arrays import WORD, Bools, Ints, Octets, Words
from ledger.domain.compiled import compiled, inlined

_U64 = np.uint64
_trailing_zeros: Any = trailing_zeros
_LOWS, _TOPS = _U64(0x0101010101010101), _U64(0x8080808080808080)
_NEWLINES = _U64(10) * _LOWS


@compiled
def as_lines(octets: Octets, starts: Ints, lengths: Ints) -> Octets:
    """Texts one after the other, a newline behind each."""
    lines = np.empty(lengths.sum() + lengths.size, np.uint8)
    at = 0
    for row in range(starts.size):
        start, length = starts[row], lengths[row]
        for n in range(length):
            lines[at + n] = octets[_U64(start + n)]
        lines[at + length] = 10
        at += length + 1
    return lines


@compiled
def are_ascii(words: Words, starts: Ints, lengths: Ints) -> Bools:
    """Whether each text has nothing but ASCII."""
    ascii_only = np.ones(starts.size, np.bool_)
    for row in range(starts.size):
        start, length = starts[row], lengths[row]
        seen = _U64(0)
        n = 0
        while n + WORD <= length:
            seen |= words[_U64(start + n)]
            n += WORD
        if n < length:
            # What lies behind the text is pushed out.
            seen |= words[_U64(start + n)] << _U64(64 - 8 * (length - n))
        ascii_only[row] = seen & _TOPS == 0
    return ascii_only


@compiled
def split_lines(octets: Octets, words: Words, at: int, end: int, starts: Ints, ends: Ints) -> int:
    """The lines of [at, end) that are not blank, spaces around them cut off; returns how many there
    are, or as many as there is room for."""
    count = 0
    while at < end and count < starts.size:
        to = _line_end(words, at, end)
        first, last = at, to
        while first < last and _is_blank(octets[_U64(first)]):
            first += 1
        while last > first and _is_blank(octets[_U64(last - 1)]):
            last -= 1
        if last > first:
            starts[count], ends[count] = first, last
            count += 1
        at = to + 1
    return count


@compiled
def count_elements(octets: Octets, most: int) -> int:
    """The elements of a JSON array, or `most` and one more; of what is none some number."""
    count, depth = 1, 0
    inside = escaped = False
    for n in range(octets.size):
        octet = octets[_U64(n)]
        if inside:
            inside = escaped or octet != 34
            escaped = octet == 92 and not escaped
        elif octet == 34:
            inside = True
        elif octet in (91, 123):
            depth += 1
        elif octet in (93, 125):
            depth -= 1
        elif octet == 44 and depth == 1:
            count += 1
            if count > most:
                break
    return count


@inlined
def _is_blank(octet: int) -> bool:
    return octet in (32, 9, 13)


@inlined
def _line_end(words: Words, at: int, end: int) -> int:
    """The place of the next newline, or `end`."""
    newlines = _U64(0)
    while newlines == 0 and at < end:
        word = words[_U64(at)] ^ _NEWLINES
        # A byte below 1 borrows from its top bit; of several the lowest is sure.
        newlines = (word - _LOWS) & ~word & _TOPS
        at += WORD
    if newlines != 0:
        at += int(_trailing_zeros(newlines) >> _U64(3)) - WORD
    return min(at, end)
