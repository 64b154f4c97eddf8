"""Whole numbers beyond 64 bits as two words, high and low, compiled; none of them below zero.

Quotients are guessed in floats and put right by what is left, which is exact: it is small, so that
what wraps beyond it does not matter.
"""

import numpy as np

from ledger.domain.compiled import compiled

_U64 = np.uint64
_0, _1, _32, _48, _63 = _U64(0), _U64(1), _U64(32), _U64(48), _U64(63)
_LOW = _U64(0xFFFFFFFF)
_WORD = np.float64(1 << 64)
# What parts are made of must be below it.
WHOLE_BITS = 111
# Two words, high and low.
Wide = tuple[np.uint64, np.uint64]


@compiled
def product(a: np.uint64, b: np.uint64) -> Wide:
    """What two words come to."""
    low = (a & _LOW) * (b & _LOW)
    middle = (a >> _32) * (b & _LOW) + (low >> _32)
    other = (a & _LOW) * (b >> _32) + (middle & _LOW)
    return (a >> _32) * (b >> _32) + (middle >> _32) + (other >> _32), (other << _32) | (low & _LOW)


@compiled
def plus(a: Wide, b: Wide) -> Wide:
    """The sum of two."""
    low = a[1] + b[1]
    return a[0] + b[0] + (_1 if low < a[1] else _0), low


@compiled
def minus(a: Wide, b: Wide) -> Wide:
    """What is left of one without another."""
    return a[0] - b[0] - (_1 if a[1] < b[1] else _0), a[1] - b[1]


@compiled
def times(a: Wide, b: np.uint64) -> Wide:
    """As many times as a word says."""
    high, low = product(a[1], b)
    return high + a[0] * b, low


@compiled
def is_less(a: Wide, b: Wide) -> bool:
    """Whether one is below another."""
    return bool(a[0] < b[0] or (a[0] == b[0] and a[1] < b[1]))


@compiled
def thousandth(a: Wide) -> Wide:
    """A thousandth of it, rounded down."""
    by = _U64(1_000)
    high, rest = a[0] // by, a[0] % by
    upper = rest << _32 | a[1] >> _32
    lower = upper % by << _32 | a[1] & _LOW
    return high, (upper // by << _32) + lower // by


@compiled
def shifted(a: Wide, bits: int) -> np.uint64:
    """Without so many of its low bits; the rest is no more than a word."""
    if bits == 0:
        return a[1]
    if bits >= 64:
        return a[0] >> _U64(bits - 64)
    return a[0] << _U64(64 - bits) | a[1] >> _U64(bits)


@compiled
def bit_length(a: Wide) -> int:
    """How many bits it has."""
    word, bits = (a[0], 64) if a[0] else (a[1], 0)
    while word:
        word >>= _1
        bits += 1
    return bits


@compiled
def part_of(size: np.uint64, weight: Wide, whole: Wide) -> tuple[np.uint64, Wide]:
    """`size` × `weight` ÷ `whole`, rounded down, and what is left; a weight is no more than the
    whole, which has no more than WHOLE_BITS, and the size no more than 63."""
    scale = _rough(whole)
    part = _U64(np.float64(size) * _rough(weight) / scale)  # exact: what is left puts it right
    # The guess is off by one where it has few bits, else by 2^12 at most, and by two once it is put
    # right: what is left has a sign, and room beside it.
    left = minus(times(weight, size), times(whole, part))
    if part >> _48:
        if left[0] >> _63:
            more = _U64(_rough(minus((_0, _0), left)) / scale)  # exact: as above
            part, left = part - more, plus(left, times(whole, more))
        else:
            more = _U64(_rough(left) / scale)  # exact: as above
            part, left = part + more, minus(left, times(whole, more))
    while left[0] >> _63:
        part, left = part - _1, plus(left, whole)
    while not is_less(left, whole):
        part, left = part + _1, minus(left, whole)
    return part, left


@compiled
def _rough(a: Wide) -> np.float64:
    return np.float64(a[0]) * _WORD + np.float64(a[1])


@compiled
def scaled(a: int, b: int, by: int) -> int:
    """a × b ÷ `by`, rounded down, of 64 bits each, none below zero; it has 50 bits at most."""
    rough = np.float64(a) * np.float64(b)
    quotient = int(rough / np.float64(by))  # exact: what is left puts it right
    left = a * b - quotient * by
    while left < 0:
        quotient -= 1
        left += by
    while left >= by:
        quotient += 1
        left -= by
    return quotient
