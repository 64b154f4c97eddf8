"""Loops that hold lines against a shape, compiled: whether they have it, and what stands in its
slots.

The bytes come as words too: the word at n is the eight bytes from n on, low byte first, so that
eight are compared, or read as digits, at once; whoever makes them pads the bytes by eight.

Invariant: a value is given only for a line that is accepted, and then it is the value that Python's
own readers give; every other line is left to them.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros

from ledger.domain.arrays import WORD, Bools, Codes, Fixed, Ints, Octets, Words
from ledger.domain.compiled import compiled, inlined

# What a slot holds; a text's value is the place where it starts, and `lengths` has its bytes.
TEXT, NUMBER, TIME = 0, 1, 2
NUMBER_DIGITS_MAX = 18
_QUOTE, _BACKSLASH, _SPACE, _POINT, _COLON, _PLUS, _DASH = 34, 92, 32, 46, 58, 43, 45
_T, _Z = 84, 90
_ZERO, _NINE = 48, 57
# As many lines as stay in the processor's cache, and where a table of texts begins.
_BLOCK_LINES, _TABLE_MIN, _TABLE_GROWTH = 512, 64, 4
# What no text has in a table, and of a text's place there the hash and the code.
_FREE, _MARK, _CODE = np.int64(-1), np.uint64(0x7FFFFFFF), np.int64(0xFFFFFFFF)
_YEAR_MIN, _YEAR_MAX = 1970, 2200
# Where the digits of a fraction begin in a time.
_FRACTION = 20
_U64 = np.uint64
_trailing_zeros: Any = trailing_zeros
_LOWS, _TOPS = _U64(0x0101010101010101), _U64(0x8080808080808080)
_QUOTES = _U64(_QUOTE) * _LOWS
_BACKSLASHES = _U64(_BACKSLASH) * _LOWS
_SPACES = _U64(_SPACE) * _LOWS
_ZEROS = _U64(_ZERO) * _LOWS
_MIX = _U64(0x9E3779B97F4A7C15)
# What takes a byte above nine to its top bit.
_ABOVE_NINE = _U64(0x76) * _LOWS
_FIRST, _DAY_AND_T = _U64(0xFF), _U64(0xFFFFFF)
# "00:00:00", and where its colons stand.
_CLOCK, _COLONS = _U64(0x30303A30303A3030), _U64(0x0000FF0000FF0000)


class Rules(NamedTuple):
    """What each slot holds: TEXT, NUMBER in [low, high], or TIME in microseconds."""

    kinds: Ints
    lows: Ints
    highs: Ints


class Numbered(NamedTuple):
    """Texts of some slots, numbered in order of first appearance.

    Of the n-th of `slots`, `codes[n]` has each line's number, `firsts[n]` the line where each
    number appeared first, `counts[n]` how many there are.
    """

    slots: Ints
    codes: Codes
    firsts: Ints
    counts: Ints


@compiled
def match_lines(
    octets: Octets,
    words: Words,
    starts: Ints,
    ends: Ints,
    fixed: Fixed,
    rules: Rules,
    values: Ints,
    lengths: Ints,
    numbered: Numbered,
) -> Bools:
    """Which lines have a shape; `values`, `lengths` (slot × line) and `numbered` are filled.

    `fixed` are the bytes before each slot, and behind the last. Compiled code keeps what it calls:
    whatever is called here stands in this file, so that none of it is older than the rest.
    """
    matched = np.zeros(starts.size, np.bool_)
    tables = _tables(numbered.slots.size, starts.size)
    sizes = np.full(numbered.slots.size, _TABLE_MIN, np.int64)
    for since in range(0, starts.size, _BLOCK_LINES):
        until = min(since + _BLOCK_LINES, starts.size)
        _match(octets, words, starts, ends, fixed, rules, since, until, values, lengths, matched)
        _code_texts(words, values, lengths, matched, since, until, tables, sizes, numbered)
    return matched


@compiled
def _match(
    octets: Octets,
    words: Words,
    starts: Ints,
    ends: Ints,
    fixed: Fixed,
    rules: Rules,
    first_line: int,
    until: int,
    values: Ints,
    lengths: Ints,
    matched: Bools,
) -> None:
    """The lines from `first_line` to before `until`."""
    kinds, lows, highs = rules
    # The date read last, which no text begins with, and its days.
    date, day = ~_U64(0), _U64(0)
    days: Any = np.int64(-1)
    for line in range(first_line, until):
        at, end = starts[line], ends[line]
        since = 0
        for slot in range(fixed.sizes.size):
            if end - at < fixed.sizes[slot]:
                at = -1
                break
            differing, octet = _U64(0), at
            for n in range(since, fixed.ends[slot]):
                differing |= (words[_U64(octet)] ^ fixed.words[_U64(n)]) & fixed.masks[_U64(n)]
                octet += WORD
            since = fixed.ends[slot]
            at = at + fixed.sizes[slot] if differing == 0 else -1
            if at < 0 or slot == kinds.size:
                break
            word, value, to = words[_U64(at)], at, at
            if kinds[slot] == TEXT:
                stops = _stops_of(word)
                while stops == 0:
                    to += WORD
                    stops = _stops_of(words[_U64(to)])
                to += _byte_of(stops)
                if octets[_U64(to)] != _QUOTE:
                    to = -1
            elif kinds[slot] == NUMBER:
                count = _digits_in(word)
                to, value = at + count, _number_of(word, count)
                if count == WORD:
                    to, value = _read_long(octets, at, end)
                if not lows[slot] <= value <= highs[slot]:
                    to = -1
            else:
                rest = words[_U64(at + 8)] & _DAY_AND_T if end - at >= WORD else _U64(0)
                if date != word or day != rest:
                    date, day, days = word, rest, _read_day(octets, at, end)
                to, value = _read_time(octets, words, at, end, days)
            if to < 0:
                at = -1
                break
            values[slot, line] = value
            lengths[slot, line] = to - at
            at = to
        matched[line] = at == end


@compiled
def _tables(slots: int, lines: int) -> Ints:
    """Room for a table a slot; only what is used of it is ever touched."""
    most = _TABLE_MIN
    while most < 2 * lines:
        most *= _TABLE_GROWTH
    # Tables a power of two apart would meet in the same places of the cache.
    tables = np.empty((slots, most + _TABLE_MIN), np.int64)
    tables[:, :_TABLE_MIN] = _FREE
    return tables


@compiled
def _code_texts(
    words: Words,
    starts: Ints,
    lengths: Ints,
    lines: Bools,
    since: int,
    until: int,
    tables: Ints,
    sizes: Ints,
    numbered: Numbered,
) -> None:
    """Number the texts of those of `lines` from `since` to before `until`, on from a call before.

    The table of each slot has, at the place of a text's hash, 31 bits of that above its code.
    """
    slots, codes, firsts, counts = numbered
    for line in range(since, until):
        if not lines[line]:
            continue
        for n in range(slots.size):
            slot = slots[n]
            start, length = starts[slot, line], lengths[slot, line]
            mark = np.int64(_hash(words, start, length) & _MARK)
            at = mark & (sizes[n] - 1)
            entry = tables[n, at]
            while entry != _FREE:
                if entry >> 32 == mark:
                    other = firsts[n, entry & _CODE]
                    if lengths[slot, other] == length and _equal(
                        words, start, starts[slot, other], length
                    ):
                        break
                at = (at + 1) & (sizes[n] - 1)
                entry = tables[n, at]
            if entry == _FREE:
                entry = mark << 32 | counts[n]
                tables[n, at] = entry
                firsts[n, counts[n]] = line
                counts[n] += 1
                if counts[n] * 2 > sizes[n]:
                    sizes[n] = _grow(tables[n], sizes[n])
            codes[n, line] = entry & _CODE


@compiled
def _grow(table: Ints, size: int) -> int:
    """Spread a table over more of its room; how much that is."""
    entries, larger = table[:size].copy(), size * _TABLE_GROWTH
    table[:larger] = _FREE
    for entry in entries:
        if entry != _FREE:
            at = (entry >> 32) & (larger - 1)
            while table[at] != _FREE:
                at = (at + 1) & (larger - 1)
            table[at] = entry
    return larger


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
def _equal(words: Words, left: int, right: int, length: int) -> bool:
    n = 0
    while n + WORD <= length:
        if words[_U64(left + n)] != words[_U64(right + n)]:
            return False
        n += WORD
    return n == length or _low(words[_U64(left + n)] ^ words[_U64(right + n)], length - n) == 0


@inlined
def _low(word: Any, count: int) -> Any:
    """A word's first `count` < 8 bytes."""
    return word & ((_U64(1) << _U64(8 * count)) - _U64(1))


@compiled
def are_ordinals(
    octets: Octets,
    words: Words,
    starts: Ints,
    lengths: Ints,
    batches: Ints,
    ordinals: Ints,
    prefixes: Fixed,
) -> Bools:
    """Whether each text is the prefix of its batch and then its own ordinal."""
    agreeing = np.zeros(starts.size, np.bool_)
    for row in range(starts.size):
        batch = batches[row]
        since = prefixes.ends[batch - 1] if batch else 0
        start, end = starts[row], starts[row] + lengths[row]
        differing, at = _U64(end - start < prefixes.sizes[batch]), start
        for n in range(since, prefixes.ends[batch]):
            differing |= (words[_U64(at)] ^ prefixes.words[_U64(n)]) & prefixes.masks[_U64(n)]
            at += WORD
        at = start + prefixes.sizes[batch]
        if differing == 0:
            to, number = _read_long(octets, at, end)
            agreeing[row] = to == end and number == ordinals[row]
    return agreeing


@inlined
def _stops_of(word: Any) -> Any:
    """The top bits of bytes that no plain text has: a quote, a backslash, a control character."""
    # A byte below 1 in any of these borrows from its top bit. Of several the lowest is sure.
    quote, slash = word ^ _QUOTES, word ^ _BACKSLASHES
    return ((quote - _LOWS) & ~quote | (slash - _LOWS) & ~slash | (word - _SPACES) & ~word) & _TOPS


@inlined
def _byte_of(bits: Any) -> Any:
    """Which byte of a word has the lowest of its bits."""
    return np.int64(_trailing_zeros(bits)) >> 3


@inlined
def _not_digits(word: Any) -> Any:
    """The top bits of bytes that are no digits; of several the lowest is sure."""
    digits = word ^ _ZEROS
    return (digits + _ABOVE_NINE | digits) & _TOPS


@inlined
def _digits_of(word: Any, count: int) -> Any:
    """The number that a word's first `count` bytes make, from 1 to 8 digits."""
    # Digits that are not there become zeros in front; pairs, fours and eights are added up.
    tens = (word << _U64(64 - 8 * count)) & _U64(0x0F0F0F0F0F0F0F0F)
    tens = tens * _U64(10 * 256 + 1) >> _U64(8)
    tens = (tens & _U64(0x00FF00FF00FF00FF)) * _U64(100 * 65536 + 1) >> _U64(16)
    tens = (tens & _U64(0x0000FFFF0000FFFF)) * _U64(10000 * 2**32 + 1) >> _U64(32)
    return np.int64(tens)


@inlined
def _digits_in(word: Any) -> Any:
    """How many of a word's bytes are digits before the first that is none."""
    other = _not_digits(word)
    return _byte_of(other) if other != 0 else np.int64(WORD)


@inlined
def _number_of(word: Any, count: int) -> Any:
    """The number of a word's first digits, -1 where JSON has none such."""
    zero_first = count > 1 and word & _FIRST == _U64(_ZERO)
    return _digits_of(word, count) if count > 0 and not zero_first else np.int64(-1)


@compiled
def _read_long(octets: Octets, at: int, end: int) -> tuple[int, int]:
    """As `_read_number`, of any length up to NUMBER_DIGITS_MAX."""
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
def _read_time(octets: Octets, words: Words, at: int, end: int, days: Any) -> tuple[int, Any]:
    """(where it ends, microseconds since 1970), or (-1, 0): RFC 3339 in UTC before a quote.

    `days` are those of its date, where that is followed by a T. Whole seconds, milli- and
    microseconds with Z are read here, eight bytes at a time.
    """
    second = np.int64(-1)
    if days >= 0 and end - at >= _FRACTION:
        second = _second_of(words[_U64(at + 11)])
    if second < 0:
        return _read_any_time(octets, at, end)
    to, micros = at + 19, np.int64(0)
    if octets[_U64(to)] == _POINT:
        fraction = words[_U64(at + _FRACTION)]
        count = _digits_in(fraction)
        micros = _digits_of(fraction, count) if count > 0 else micros
        if count == 3:
            micros *= 1_000
        elif count != 6:
            return _read_any_time(octets, at, end)
        to += count + 1
    if octets[_U64(to)] != _Z or octets[_U64(to + 1)] != _QUOTE:
        return _read_any_time(octets, at, end)
    return to + 1, (days * 86_400 + second) * 1_000_000 + micros


@inlined
def _second_of(word: Any) -> Any:
    """The second of the day of a text like "23:59:59", or -1."""
    digits = word ^ _CLOCK
    if (digits + _ABOVE_NINE | digits) & _TOPS != 0 or digits & _COLONS != 0:
        return np.int64(-1)
    hour, minute, second = _two(digits, 0), _two(digits, 24), _two(digits, 48)
    if hour > 23 or minute > 59 or second > 59:
        return np.int64(-1)
    return (hour * 60 + minute) * 60 + second


@inlined
def _two(digits: Any, shift: int) -> Any:
    """The number of two digits in a word of them."""
    tens, units = digits >> _U64(shift), digits >> _U64(shift + 8)
    return np.int64((tens & _U64(15)) * _U64(10) + (units & _U64(15)))


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
def _read_any_time(octets: Octets, at: int, end: int) -> tuple[int, int]:
    """As `_read_time`, byte by byte."""
    if end - at < _FRACTION + 1:
        return -1, 0
    days = _read_day(octets, at, end)
    hour, minute = _digits(octets, at + 11, 2), _digits(octets, at + 14, 2)
    second = _digits(octets, at + 17, 2)
    marked = octets[_U64(at + 13)] == _COLON and octets[_U64(at + 16)] == _COLON
    if days < 0 or not marked or not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
        return -1, 0
    to, micros = at + 19, 0
    if octets[_U64(to)] == _POINT:
        to, micros = _read_fraction(octets, to + 1, end)
    to = _skip_utc(octets, to, end) if to >= 0 else -1
    if to < 0:
        return -1, 0
    return to, (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros


@compiled
def _read_day(octets: Octets, at: int, end: int) -> int:
    """Days since 1970 of a date and the T behind it, or -1."""
    if end - at < 11 or octets[_U64(at + 10)] != _T:
        return -1
    year, month, day = (
        _digits(octets, at, 4),
        _digits(octets, at + 5, 2),
        _digits(octets, at + 8, 2),
    )
    if (
        octets[_U64(at + 4)] != _DASH
        or octets[_U64(at + 7)] != _DASH
        or not _YEAR_MIN <= year < _YEAR_MAX
    ):
        return -1
    if not 1 <= month <= 12 or not 1 <= day <= _month_days(year, month):
        return -1
    # Days of the years since March of year 0, so that a leap day ends its year.
    shifted = year - (month <= 2)
    month_of_year = (month + 9) % 12
    past = shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400
    return past + (month_of_year * 153 + 2) // 5 + day - 719_469


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
    if octets[_U64(at)] == _Z:
        at += 1
    elif end - at >= 6 and octets[_U64(at)] == _PLUS and octets[_U64(at + 3)] == _COLON:
        if _digits(octets, at + 1, 2) != 0 or _digits(octets, at + 4, 2) != 0:
            return -1
        at += 6
    else:
        return -1
    return at if at < end and octets[_U64(at)] == _QUOTE else -1
