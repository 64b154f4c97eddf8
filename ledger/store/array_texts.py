"""Runs of columns as PostgreSQL writes arrays, for a COPY of text: a text for each run, which ends
where the next begins."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ledger.domain.arrays import Ints, Octets
from ledger.domain.compiled import compiled
from ledger.domain.halves import HALF_DIGITS, Halves, halves_of

# A sign, two halves, a point and a comma; and two braces a run.
_NUMBER_OCTETS, _RUN_OCTETS = 2 * HALF_DIGITS + 3, 2
_MINUS, _POINT, _COMMA, _ZERO, _OPEN, _CLOSE = b"-.,0{}"


def whole_texts(values: Ints, ends: Ints) -> list[str]:
    """Whole numbers."""
    return decimal_texts(halves_of(values), np.zeros_like(values), ends)


def decimal_texts(units: Halves, decimals: Ints, ends: Ints) -> list[str]:
    """Numbers, the last digits of each so many decimals."""
    octets = np.empty(decimals.size * _NUMBER_OCTETS + ends.size * _RUN_OCTETS, np.uint8)
    text_ends = np.zeros(ends.size, np.int64)
    _write_runs(units.highs, units.lows, decimals, ends, octets, text_ends)
    text = octets[: text_ends[-1]].tobytes().decode("ascii")
    return [text[since:until] for since, until in pairwise(text_ends.tolist())]


def name_texts(names: Sequence[str], values: Ints, ends: Ints) -> list[str]:
    """Names that need no quotes, by their places; runs of many days are alike."""
    codes, known = values.astype(np.uint8).tobytes(), dict[bytes, str]()
    runs = [codes[since:until] for since, until in pairwise(ends.tolist())]
    for run in set(runs):
        known[run] = "{" + ",".join([names[code] for code in run]) + "}"
    return [known[run] for run in runs]


@compiled
def _write_runs(
    highs: Ints, lows: Ints, decimals: Ints, ends: Ints, octets: Octets, text_ends: Ints
) -> None:
    at = 0
    for run in range(ends.size - 1):
        octets[at] = _OPEN
        at += 1
        for n in range(ends[run], ends[run + 1]):
            if n > ends[run]:
                octets[at] = _COMMA
                at += 1
            at = _write(highs[n], lows[n], decimals[n], octets, at)
        octets[at] = _CLOSE
        at += 1
        text_ends[run + 1] = at


@compiled
def _write(high: int, low: int, decimals: int, octets: Octets, at: int) -> int:
    """Write a number at a place; returns where it ends."""
    if high < 0 or low < 0:
        octets[at] = _MINUS
        at += 1
        high, low = -high, -low
    size = max(HALF_DIGITS + _digits(high) if high else _digits(low), decimals + 1)
    left = end = at + size + (1 if decimals else 0)
    for n in range(size):
        if n == HALF_DIGITS:
            low = high
        if n == decimals and n:
            left -= 1
            octets[left] = _POINT
        left -= 1
        octets[left] = _ZERO + low % 10
        low //= 10
    return end


@compiled
def _digits(number: int) -> int:
    digits = 0
    while number:
        number //= 10
        digits += 1
    return max(digits, 1)
