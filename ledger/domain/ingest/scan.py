"""Loops over the bytes of lines, compiled: what stands where, and which values it has.

The bytes come as words too: the word at n is the eight bytes from n on, low byte first, so that
eight are compared at once; whoever makes them pads the bytes by eight.

Invariant: a value is given only for a line that is accepted, and then it is the value that Python's
own readers give; every other line is left to them.
"""

from typing import Any

import numpy as np

from ledger.domain.ingest.compiled import compiled, inlined
from ledger.domain.ingest.octets import WORD, Bools, Ints, Octets, Words

# What a slot holds; a text's value is the place where it starts, and `lengths` has its bytes.
TEXT, NUMBER, TIME = 0, 1, 2
NUMBER_DIGITS_MAX = 18
_QUOTE, _BACKSLASH, _SPACE = 34, 92, 32
_ZERO, _NINE = 48, 57
_YEAR_MIN, _YEAR_MAX = 1970, 2200
_U64 = np.uint64
_ONES, _TOPS = _U64(0x0101010101010101), _U64(0x8080808080808080)
_QUOTES = _U64(_QUOTE) * _ONES
_BACKSLASHES = _U64(_BACKSLASH) * _ONES
_SPACES = _U64(_SPACE) * _ONES
_MIX = _U64(0x9E3779B97F4A7C15)


@compiled
def match_lines(
    octets: Octets,
    words: Words,
    starts: Ints,
    ends: Ints,
    fixed: Words,
    fixed_ends: Ints,
    kinds: Ints,
    lows: Ints,
    highs: Ints,
    values: Ints,
    lengths: Ints,
) -> Bools:
    """Which lines have a shape; `values` and `lengths` (slot × line) are filled for those.

    A slot's kind is TEXT, NUMBER in [low, high] or TIME in microseconds.
    """
    found = np.zeros(starts.size, np.bool_)
    for line in range(starts.size):
        at, end = starts[line], ends[line]
        since = 0
        good = True
        for slot in range(kinds.size):
            at = _skip_fixed(words, at, end, fixed, since, fixed_ends[slot])
            if at < 0:
                good = False
                break
            since = fixed_ends[slot]
            kind = kinds[slot]
            if kind == TEXT:
                to = _text_end(octets, words, at, end)
                value = at
            elif kind == NUMBER:
                to, value = _read_number(octets, at, end)
                if to >= 0 and (value < lows[slot] or value > highs[slot]):
                    to = -1
            else:
                to, value = _read_time(octets, at, end)
            if to < 0:
                good = False
                break
            values[slot, line] = value
            lengths[slot, line] = to - at
            at = to
        if good:
            found[line] = _skip_fixed(words, at, end, fixed, since, fixed.size - 1) == end
    return found


@inlined
def _low(word: Any, count: int) -> Any:
    """A word's first `count` < 8 bytes."""
    return word & ((_U64(1) << _U64(8 * count)) - _U64(1))


@inlined
def _skip_fixed(words: Words, at: int, end: int, fixed: Words, since: int, until: int) -> int:
    size = until - since
    if end - at < size:
        return -1
    n = 0
    while n + WORD <= size:
        if words[_U64(at + n)] != fixed[_U64(since + n)]:
            return -1
        n += WORD
    if n < size and _low(words[_U64(at + n)] ^ fixed[_U64(since + n)], size - n) != 0:
        return -1
    return at + size


@inlined
def _text_end(octets: Octets, words: Words, at: int, end: int) -> int:
    while at + WORD <= end:
        word = words[_U64(at)]
        # A byte below 1 in any of these borrows from its top bit: a quote, a backslash, a control.
        quote, slash = word ^ _QUOTES, word ^ _BACKSLASHES
        found = (quote - _ONES) & ~quote | (slash - _ONES) & ~slash | (word - _SPACES) & ~word
        if found & _TOPS:
            break
        at += WORD
    while at < end:
        octet = octets[_U64(at)]
        if octet == _QUOTE:
            return at
        if octet == _BACKSLASH or octet < _SPACE:
            return -1
        at += 1
    return -1


@inlined
def _read_number(octets: Octets, at: int, end: int) -> tuple[int, int]:
    """(where it ends, the number), or (-1, 0): digits of JSON, no sign."""
    first, value = at, 0
    while at < end and _ZERO <= octets[_U64(at)] <= _NINE:
        value = value * 10 + (octets[_U64(at)] - _ZERO)
        at += 1
        if at - first > NUMBER_DIGITS_MAX:
            return -1, 0
    if at == first or (octets[_U64(first)] == _ZERO and at - first > 1):
        return -1, 0
    return at, value


@compiled
def _digits(octets: Octets, at: int, count: int) -> int:
    value = 0
    for n in range(count):
        octet = octets[_U64(at + n)]
        if octet < _ZERO or octet > _NINE:
            return -1
        value = value * 10 + (octet - _ZERO)
    return value


@compiled
def _read_time(octets: Octets, at: int, end: int) -> tuple[int, int]:
    """(where it ends, microseconds since 1970), or (-1, 0): RFC 3339 in UTC before a quote."""
    if end - at < 21:
        return -1, 0
    days = _read_day(octets, at)
    hour, minute = _digits(octets, at + 11, 2), _digits(octets, at + 14, 2)
    second = _digits(octets, at + 17, 2)
    marked = (
        octets[_U64(at + 10)] == 84 and octets[_U64(at + 13)] == 58 and octets[_U64(at + 16)] == 58
    )
    if days < 0 or not marked or not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
        return -1, 0
    to, micros = at + 19, 0
    if octets[_U64(to)] == 46:
        to, micros = _read_fraction(octets, to + 1, end)
    to = _skip_utc(octets, to, end) if to >= 0 else -1
    if to < 0:
        return -1, 0
    return to, (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros


@compiled
def _read_day(octets: Octets, at: int) -> int:
    """Days since 1970 of a date, or -1."""
    year, month, day = (
        _digits(octets, at, 4),
        _digits(octets, at + 5, 2),
        _digits(octets, at + 8, 2),
    )
    if (
        octets[_U64(at + 4)] != 45
        or octets[_U64(at + 7)] != 45
        or not _YEAR_MIN <= year < _YEAR_MAX
    ):
        return -1
    if not 1 <= month <= 12 or not 1 <= day <= _month_days(year, month):
        return -1
    # Days of the years since March of year 0, so that a leap day ends its year.
    shifted = year - (month <= 2)
    place = (month + 9) % 12
    past = shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400
    return past + (place * 153 + 2) // 5 + day - 719_469


@compiled
def _month_days(year: int, month: int) -> int:
    if month == 2:
        return 28 + (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))
    return 30 + ((month + month // 8) % 2)


@compiled
def _read_fraction(octets: Octets, at: int, end: int) -> tuple[int, int]:
    """(where it ends, microseconds): digits past the sixth are cut off."""
    count, value = 0, 0
    while at < end and _ZERO <= octets[_U64(at)] <= _NINE:
        if count < 6:
            value = value * 10 + (octets[_U64(at)] - _ZERO)
        count += 1
        at += 1
    if count == 0 or at >= end:
        return -1, 0
    for _ in range(count, 6):
        value *= 10
    return at, value


@compiled
def _skip_utc(octets: Octets, at: int, end: int) -> int:
    if octets[_U64(at)] == 90:
        at += 1
    elif end - at >= 6 and octets[_U64(at)] == 43 and octets[_U64(at + 3)] == 58:
        if _digits(octets, at + 1, 2) != 0 or _digits(octets, at + 4, 2) != 0:
            return -1
        at += 6
    else:
        return -1
    return at if at < end and octets[_U64(at)] == _QUOTE else -1


@compiled
def code_texts(words: Words, starts: Ints, lengths: Ints, codes: Ints, firsts: Ints) -> int:
    """Number texts in order of first appearance; returns how many are distinct.

    `codes` gets each text's number, `firsts` the row where each number appeared first.
    """
    size, shift = 64, _U64(58)
    table = np.full(size, -1, np.int64)
    count = 0
    for row in range(starts.size):
        start, length = starts[row], lengths[row]
        place = _hash(words, start, length) >> shift
        while table[place] >= 0:
            other = firsts[table[place]]
            if lengths[other] == length and _equal(words, start, starts[other], length):
                break
            place = (place + _U64(1)) & _U64(size - 1)
        if table[place] < 0:
            table[place] = count
            firsts[count] = row
            count += 1
        codes[row] = table[place]
        if count * 2 > size:
            size, shift = size * 4, shift - _U64(2)
            table = _grow(words, starts, lengths, firsts[:count], size, shift)
    return count


@compiled
def _grow(words: Words, starts: Ints, lengths: Ints, firsts: Ints, size: int, shift: Any) -> Ints:
    table = np.full(size, -1, np.int64)
    for code in range(firsts.size):
        row = firsts[code]
        place = _hash(words, starts[row], lengths[row]) >> shift
        while table[place] >= 0:
            place = (place + _U64(1)) & _U64(size - 1)
        table[place] = code
    return table


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
    # The top bits depend on all of it.
    return value * _MIX


@inlined
def _equal(words: Words, one: int, other: int, length: int) -> bool:
    n = 0
    while n + WORD <= length:
        if words[_U64(one + n)] != words[_U64(other + n)]:
            return False
        n += WORD
    return n == length or _low(words[_U64(one + n)] ^ words[_U64(other + n)], length - n) == 0


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
def are_places(
    octets: Octets,
    words: Words,
    starts: Ints,
    lengths: Ints,
    batches: Ints,
    ordinals: Ints,
    prefixes: Words,
    prefix_ends: Ints,
) -> Bools:
    """Whether each text is the prefix of its batch and then its own ordinal."""
    found = np.zeros(starts.size, np.bool_)
    for row in range(starts.size):
        batch = batches[row]
        since = prefix_ends[batch - 1] if batch else 0
        start, end = starts[row], starts[row] + lengths[row]
        at = _skip_fixed(words, start, end, prefixes, since, prefix_ends[batch])
        if at < 0:
            continue
        to, number = _read_number(octets, at, end)
        found[row] = to == end and number == ordinals[row]
    return found


@compiled
def split_lines(octets: Octets, words: Words, at: int, end: int, starts: Ints, ends: Ints) -> int:
    """The lines of [at, end) that are not blank, spaces around them cut off; returns how many."""
    count = 0
    while at < end:
        to = _line_end(octets, words, at, end)
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
def _line_end(octets: Octets, words: Words, at: int, end: int) -> int:
    newlines = _U64(10) * _ONES
    while at + WORD <= end:
        word = words[_U64(at)] ^ newlines
        if (word - _ONES) & ~word & _TOPS:
            break
        at += WORD
    while at < end and octets[_U64(at)] != 10:
        at += 1
    return at
