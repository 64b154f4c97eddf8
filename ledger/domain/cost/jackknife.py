"""Fits columns to what rows come to, and again without each stretch of them.

Invariant: how far the fits without each stretch lie apart says between what an answer lies; that
all of them miss little says nothing of it.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from ledger.domain.cost.least_squares import Products, fit, inverted, root

# Rows are relative to what they come to, in so many parts.
WHOLE = 1 << 48
# Stretches of time that are left out in turn.
BLOCKS = 20
# Student's t of 19 degrees of freedom, 99 % on both sides.
_SPREAD = Fraction(2861, 1_000)
# Of all energy: what the law itself and the times of events may put on the wrong column.
_MISPLACED = Fraction(1, 2_000)


@dataclass(frozen=True, slots=True)
class Interval:
    """A fitted number, between what it lies with 99 %, its part of all energy, and what part it may
    put on others, or lack."""

    value: int
    low: int
    high: int
    share: Fraction = Fraction(0)
    misplaced: Fraction = Fraction(0)

    def is_wider(self, part: Fraction) -> bool:
        """Whether it may be further off than by this part of it."""
        return not self.value or self.high - self.low > 2 * part * self.value


@dataclass(frozen=True, slots=True)
class Jackknife:
    """The fit of all rows, and of all but each block."""

    names: Sequence[str]
    # Of one unit of a column, in the mean of rows.
    shares: Sequence[Fraction]
    all: Products
    blocks: Sequence[Products]
    answer: Sequence[Fraction]
    without: Sequence[Sequence[Fraction]]

    @classmethod
    def of(cls, rows: Sequence[tuple[Sequence[int], int]], names: Sequence[str]) -> "Jackknife":
        """Of rows in order of time, each what it comes to for one unit of a column, in parts of
        WHOLE; of columns that there was any of."""
        seen = [at for at in range(len(names)) if any(columns[at] for columns, _ in rows)]
        kept = [([columns[at] for at in seen], value) for columns, value in rows]
        edges = [len(kept) * n // BLOCKS for n in range(BLOCKS + 1)]
        blocks = [Products.of(kept[since:until], len(seen)) for since, until in pairwise(edges)]
        whole = _sum(blocks)
        left_out = [fit(whole + block.negated()) for block in blocks]
        shares = [
            Fraction(sum(row[n] for row, _ in kept), len(kept) * WHOLE) for n in range(len(seen))
        ]
        return cls([names[at] for at in seen], shares, whole, blocks, fit(whole), left_out)

    @property
    def error(self) -> Fraction:
        """By how much all are missed by the fit of them all."""
        return Fraction(self.all.error(self.answer), WHOLE)

    @property
    def holdout_error(self) -> Fraction:
        """By how much each block is missed by the fit of all the others."""
        pairs = zip(self.blocks, self.without, strict=True)
        squares = [block.error(answer) ** 2 * block.rows for block, answer in pairs]
        return Fraction(root(Fraction(sum(squares), self.all.rows)), WHOLE)

    def condition(self, names: Collection[str]) -> Fraction:
        """Of these columns at one length (by Frobenius); 10**9 where some make up others."""
        own = [at for at, name in enumerate(self.names) if name in names]
        products = [[self.all.columns[n][m] for m in own] for n in own]
        lengths = [root(Fraction(self.all.columns[n][n])) for n in own]
        inverse = inverted(products)
        if inverse is None:
            return Fraction(10**9)
        squares = [Fraction(0), Fraction(0)]
        for n, row in enumerate(products):
            for m, product in enumerate(row):
                long = lengths[n] * lengths[m]
                squares[0] += Fraction(product, long) ** 2
                squares[1] += (inverse[n][m] * long) ** 2
        return root(root(squares[0]) * root(squares[1]))

    def interval(self, at: int) -> Interval:
        """Of a column: how far the fits without each block lie apart, and what the law itself
        leaves open."""
        without = [answer[at] for answer in self.without]
        mean = Fraction(sum(without), BLOCKS)
        apart = sum(((answer - mean) ** 2 for answer in without), Fraction(0))
        unit = self.shares[at]
        reach = _SPREAD * root(Fraction(apart * (BLOCKS - 1), BLOCKS)) + Fraction(_MISPLACED, unit)
        value = self.answer[at]
        low, high = max(value - reach, Fraction(0)), value + reach
        return Interval(round(value), round(low), round(high), value * unit, reach * unit)


def _sum(blocks: Iterable[Products]) -> Products:
    first, *rest = blocks
    for block in rest:
        first += block
    return first
