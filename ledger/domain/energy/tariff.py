"""Turns energy and dated power prices into electricity cost.

Invariant: cost rounds once, energy of an interval × price, to 1e-12 half even; a stretch without a
price is a named gap, never free.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from ledger.domain.apportion import amount_of, units_of
from ledger.domain.errors import ConflictError
from ledger.domain.money import divide_half_even
from ledger.domain.period import Period, intersect
from ledger.wire.units import MJ_PER_KWH

MJ_PER_MWH = 1_000 * MJ_PER_KWH


@dataclass(frozen=True, slots=True)
class TariffPoint:
    """The price of one MWh over a period; negative prices are real."""

    period: Period
    price_per_mwh: Decimal


@dataclass(frozen=True, slots=True)
class TariffCut:
    """A part of a window under one price; `price_per_mwh` None is a stretch nobody priced."""

    period: Period
    price_per_mwh: Decimal | None


def cut(window: Period, points: Iterable[TariffPoint]) -> list[TariffCut]:
    """The window cut at price changes, gaps included; ConflictError where two prices overlap."""
    cuts: list[TariffCut] = []
    at = window.start
    for point in sorted(points, key=lambda p: p.period):
        part = intersect(window, point.period)
        if part is None:
            continue
        if part.start < at:
            raise ConflictError(f"Two prices apply at {part.start.isoformat()}.")
        if part.start > at:
            cuts.append(TariffCut(Period(at, part.start), None))
        cuts.append(TariffCut(part, point.price_per_mwh))
        at = part.end
    if at < window.end:
        cuts.append(TariffCut(Period(at, window.end), None))
    return cuts


def energy_cost(energy_mj: int, price_per_mwh: Decimal) -> Decimal:
    """Cost of `energy_mj` at a price per MWh, rounded once to 1e-12 half even.

    >>> str(energy_cost(36_000_000_000, Decimal("92.22")))
    '0.922200000000'
    """
    return amount_of(divide_half_even(units_of(price_per_mwh) * energy_mj, MJ_PER_MWH))
