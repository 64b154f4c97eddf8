"""Loops over bytes, compiled: where lines begin and end, which texts are the same.

The bytes come as words too: the word at n is the eight bytes from n on, low byte first, so that
eight are compared at once; whoever makes them pads the bytes by eight.
"""

from typing import Any

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros

from ledger.domain.ingest.compiled import compiled, inlined
from ledger.domain.ingest.octets import WORD, Bools, Codes, Ints, Octets, Words

_U64 = np.uint64
_trailing_zeros: Any = trailing_zeros
_ONES, _TOPS = _U64(0x0101010101010101), _U64(0x8080808080808080)
_NEWLINES = _U64(10) * _ONES
_MIX = _U64(0x9E3779B97F4A7C15)


@inlined
def _low(word: Any, count: int) -> Any:
    """A word's first `count` < 8 bytes."""
    return word & ((_U64(1) << _U64(8 * count)) - _U64(1))


@compiled
def code_texts(
    words: Words,
    starts: Ints,
    lengths: Ints,
    lines: Bools,
    slots: Ints,
    since: int,
    until: int,
    tables: Ints,
    codes: Codes,
    firsts: Ints,
    counts: Ints,
) -> Ints:
    """Number the texts of some slots (slot × line) in order of first appearance.

    Those of `lines` from `since` to before `until` go on where a call before stopped: `tables` is
    what it returned, a row a slot, -1 at first. Of the n-th of `slots`, `codes[n]` gets each line's
    number, `firsts[n]` the line where each number appeared first, `counts[n]` how many there are.
    """
    for line in range(since, until):
        if not lines[line]:
            continue
        for n in range(slots.size):
            slot = slots[n]
            start, length = starts[slot, line], lengths[slot, line]
            size = tables.shape[1]
            place = _hash(words, start, length) & _U64(size - 1)
            while tables[n, place] >= 0:
                other = firsts[n, tables[n, place]]
                if lengths[slot, other] == length and _equal(
                    words, start, starts[slot, other], length
                ):
                    break
                place = (place + _U64(1)) & _U64(size - 1)
            if tables[n, place] < 0:
                tables[n, place] = counts[n]
                firsts[n, counts[n]] = line
                counts[n] += 1
            codes[n, line] = tables[n, place]
            if counts[n] * 2 > size:
                tables = _grow(words, starts, lengths, slots, size * 4, firsts, counts)
    return tables


@compiled
def _grow(
    words: Words,
    starts: Ints,
    lengths: Ints,
    slots: Ints,
    size: int,
    firsts: Ints,
    counts: Ints,
) -> Ints:
    tables = np.full((slots.size, size), -1, np.int64)
    for n in range(slots.size):
        for code in range(counts[n]):
            start, length = starts[slots[n], firsts[n, code]], lengths[slots[n], firsts[n, code]]
            place = _hash(words, start, length) & _U64(size - 1)
            while tables[n, place] >= 0:
                place = (place + _U64(1)) & _U64(size - 1)
            tables[n, place] = code
    return tables


@inlined
def _hash(words: Words, start: int, length: int) -> Any:
    value = _U64(length)
    n = 0
    while n + WORD <= length:
        value = (value ^ words[_U64(start + n)]) * _MIX
        value ^= value >> _U64(32)
        n += WORD
    if n < length:
        value = (value ^ _low(words[_U64(start + n)], length - n)) * _MIX
        value ^= value >> _U64(32)
    # The top bits depend on all of it, and are brought down.
    value *= _MIX
    return value ^ value >> _U64(32)


@inlined
def _equal(words: Words, one: int, other: int, length: int) -> bool:
    n = 0
    while n + WORD <= length:
        if words[_U64(one + n)] != words[_U64(other + n)]:
            return False
        n += WORD
    return n == length or _low(words[_U64(one + n)] ^ words[_U64(other + n)], length - n) == 0


@compiled
def as_lines(octets: Octets, starts: Ints, lengths: Ints) -> Octets:
    """Texts one after the other, a newline behind each."""
    found = np.empty(lengths.sum() + lengths.size, np.uint8)
    at = 0
    for row in range(starts.size):
        start, length = starts[row], lengths[row]
        for n in range(length):
            found[at + n] = octets[_U64(start + n)]
        found[at + length] = 10
        at += length + 1
    return found


@compiled
def are_ascii(words: Words, starts: Ints, lengths: Ints) -> Bools:
    """Whether each text has nothing but ASCII."""
    found = np.ones(starts.size, np.bool_)
    for row in range(starts.size):
        start, length = starts[row], lengths[row]
        seen = _U64(0)
        n = 0
        while n + WORD <= length:
            seen |= words[_U64(start + n)]
            n += WORD
        if n < length:
            seen |= _low(words[_U64(start + n)], length - n)
        found[row] = seen & _TOPS == 0
    return found


@compiled
def split_lines(octets: Octets, words: Words, at: int, end: int, starts: Ints, ends: Ints) -> int:
    """The lines of [at, end) that are not blank, spaces around them cut off; returns how many."""
    count = 0
    while at < end:
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


@inlined
def _is_blank(octet: int) -> bool:
    return octet in (32, 9, 13)


@inlined
def _line_end(words: Words, at: int, end: int) -> int:
    """The place of the next newline, or `end`."""
    found = _U64(0)
    while found == 0 and at < end:
        word = words[_U64(at)] ^ _NEWLINES
        # A byte below 1 borrows from its top bit; of several the lowest is sure.
        found = (word - _ONES) & ~word & _TOPS
        at += WORD
    if found != 0:
        at += int(_trailing_zeros(found) >> _U64(3)) - WORD
    return min(at, end)
