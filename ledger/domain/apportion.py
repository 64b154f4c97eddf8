"""Turns a whole into parts that add up to it, always and in the same way.

Invariant: the parts sum to the whole exactly; ties go to the earlier position, so callers sort by a
natural key, never by an id that arrival decided.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

from ledger.domain.errors import InvalidInputError
from ledger.domain.money import EXACT, LEDGER_SCALE, UNIT


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Largest remainder: parts of `total` in proportion to `weights` (non-negative, not all zero).

    A negative total mirrors its positive.

    >>> apportion(10, [1, 1, 1])
    [4, 3, 3]
    >>> apportion(-10, [1, 1, 1])
    [-4, -3, -3]
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0:
        raise InvalidInputError(
            f"{total} cannot be split by the weights {list(weights)[:5]}.",
            "Give weights of zero or more, not all zero.",
        )
    size = abs(total)
    shares = [size * weight // whole for weight in weights]
    left = size - sum(shares)
    if left:
        rests = [
            share * whole - size * weight for share, weight in zip(shares, weights, strict=True)
        ]
        for n in sorted(range(len(shares)), key=rests.__getitem__)[:left]:
            shares[n] += 1
    return shares if total >= 0 else [-share for share in shares]


def apportion_amount(total: Decimal, weights: Sequence[int]) -> list[Decimal]:
    """`apportion` of an amount, in steps of 1e-12; an amount finer than that is refused.

    >>> [str(part) for part in apportion_amount(Decimal("0.01"), [2, 1])]
    ['0.006666666667', '0.003333333333']
    """
    units = units_of(total)
    return [amount_of(part) for part in apportion(units, weights)]


def units_of(amount: Decimal) -> int:
    """An amount as a whole number of 1e-12; decimal.Inexact where it is finer."""
    return int(amount.quantize(UNIT, context=EXACT).scaleb(LEDGER_SCALE, EXACT))


def amount_of(units: int) -> Decimal:
    """A whole number of 1e-12 as an amount."""
    return Decimal(units).scaleb(-LEDGER_SCALE, EXACT)


def cumulative_split(total: int, *, start: int, end: int, edges: Sequence[int]) -> list[int]:
    """`total` spread evenly over [start, end), cut at sorted `edges`: one part between neighbours.

    The share up to an edge is floor(total × elapsed ÷ length), so parts telescope: any finer cut
    adds up to the same. Edges outside are clipped. An empty span lies at its start.

    >>> cumulative_split(10, start=0, end=3, edges=[0, 1, 2, 3])
    [3, 3, 4]
    """
    length = end - start

    def up_to(edge: int) -> int:
        if length <= 0:
            return total if edge > start else 0
        return total * min(max(edge - start, 0), length) // length

    marks = [up_to(edge) for edge in edges]
    return [later - earlier for earlier, later in pairwise(marks)]
