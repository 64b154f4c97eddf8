"""A row of bars, one for each value: for who would rather look than read."""

from collections.abc import Sequence
from decimal import Decimal

BARS = " ▁▂▃▄▅▆▇█"


def bars(values: Sequence[Decimal]) -> str:
    """A bar for each value, the highest for the greatest; what is not above zero has none.

    >>> bars([Decimal(0), Decimal(1), Decimal(8), Decimal(-3)])
    ' ▁█ '
    """
    top = max(values, default=Decimal(0))
    if top <= 0:
        return BARS[0] * len(values)
    return "".join(BARS[int(max(value, Decimal(0)) * (len(BARS) - 1) // top)] for value in values)
