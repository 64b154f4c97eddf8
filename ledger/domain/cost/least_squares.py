"""Least squares without negative answers, in whole numbers: the same rows give the same answer.

Invariant: an answer is exact, so that neither the order of rows nor a machine's rounding shows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

# Of roots: so many parts of one.
_FINE = 10**12


@dataclass(frozen=True, slots=True)
class Products:
    """Of rows, each some columns and what they come to: products of every two, added up."""

    columns: Sequence[Sequence[int]]
    target: Sequence[int]
    square: int
    rows: int

    @classmethod
    def of(cls, rows: Iterable[tuple[Sequence[int], int]], width: int) -> "Products":
        """Of (columns, what they come to), each of `width` columns."""
        columns = [[0] * width for _ in range(width)]
        target, square, count = [0] * width, 0, 0
        for row, value in rows:
            for at, cell in enumerate(row):
                target[at] += cell * value
                for other in range(at, width):
                    columns[at][other] += cell * row[other]
            square, count = square + value * value, count + 1
        whole = [[columns[min(n, m)][max(n, m)] for m in range(width)] for n in range(width)]
        return cls(whole, target, square, count)

    def __add__(self, other: "Products") -> "Products":
        return Products(
            [
                [a + b for a, b in zip(own, others, strict=True)]
                for own, others in zip(self.columns, other.columns, strict=True)
            ],
            [a + b for a, b in zip(self.target, other.target, strict=True)],
            self.square + other.square,
            self.rows + other.rows,
        )

    def negated(self) -> "Products":
        """What takes these rows out of others that hold them."""
        return Products(
            [[-cell for cell in row] for row in self.columns],
            [-cell for cell in self.target],
            -self.square,
            -self.rows,
        )

    def error(self, answer: Sequence[Fraction]) -> Fraction:
        """The root of the mean square by which an answer misses what rows come to."""
        missed = Fraction(self.square)
        for at, weight in enumerate(answer):
            missed += weight * (self._product(at, answer) - 2 * self.target[at])
        return root(Fraction(missed, self.rows))

    def slope(self, at: int, answer: Sequence[Fraction]) -> Fraction:
        """By how much more of a column would come nearer; its sign alone means anything."""
        return self.target[at] - self._product(at, answer)

    def _product(self, at: int, answer: Sequence[Fraction]) -> Fraction:
        return sum(
            (cell * w for cell, w in zip(self.columns[at], answer, strict=True)), Fraction(0)
        )


def root(square: Fraction) -> Fraction:
    """A square root, cut off after twelve decimals."""
    return Fraction(isqrt(max(int(square * _FINE * _FINE), 0)), _FINE)


def fit(products: Products) -> tuple[Fraction, ...]:
    """The answer of zeros and positive numbers that misses least (Lawson and Hanson).

    A column that others make up stays at zero.
    """
    width = len(products.target)
    answer, free, spare = [Fraction(0)] * width, list[int](), set(range(width))
    while True:
        slopes = {at: products.slope(at, answer) for at in spare - {*free}}
        best = max(slopes, key=lambda at: (slopes[at], -at), default=None)
        if best is None or slopes[best] <= 0:
            return tuple(answer)
        entered = _enter(products, answer, sorted({*free, best}))
        if entered is None:
            spare.remove(best)
        else:
            answer, free = entered


def _enter(
    products: Products, answer: Sequence[Fraction], free: Sequence[int]
) -> tuple[list[Fraction], list[int]] | None:
    """The best answer of these columns alone, less those that would be negative in it."""
    held, now = list(free), list(answer)
    while True:
        solved = solve(products, held)
        if solved is None:
            return None
        low = [at for at, value in zip(held, solved, strict=True) if value <= 0]
        wanted = dict(zip(held, solved, strict=True))
        if not low:
            return [wanted.get(at, Fraction(0)) for at in range(len(now))], held
        part = min(
            Fraction(now[at], now[at] - wanted[at]) if now[at] else Fraction(0) for at in low
        )
        now = [
            value + part * (wanted[at] - value) if at in wanted else Fraction(0)
            for at, value in enumerate(now)
        ]
        held = [at for at in held if now[at] > 0 or (at not in low and wanted[at] > 0)]


def solve(products: Products, columns: Sequence[int]) -> list[Fraction] | None:
    """What these columns alone come nearest with, of whatever sign; None where one is made up."""
    inverse = inverted([[products.columns[n][m] for m in columns] for n in columns])
    if inverse is None:
        return None
    target = [products.target[n] for n in columns]
    return [sum((a * b for a, b in zip(row, target, strict=True)), Fraction(0)) for row in inverse]


def inverted(square: Sequence[Sequence[int]]) -> list[list[Fraction]] | None:
    """The inverse of a matrix of products, or None where it has none."""
    size = len(square)
    rows = [
        [*map(Fraction, row), *(Fraction(n == m) for m in range(size))]
        for n, row in enumerate(square)
    ]
    for at in range(size):
        pivot = rows[at][at]
        if pivot <= 0:
            return None
        rows[at] = [Fraction(cell, pivot) for cell in rows[at]]
        for other in range(size):
            by = rows[other][at]
            if other != at and by:
                rows[other] = [a - by * b for a, b in zip(rows[other], rows[at], strict=True)]
    return [row[size:] for row in rows]
