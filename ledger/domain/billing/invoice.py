"""Turns exact charges into invoice lines and totals.

Invariant: a line's amount is its exact amount rounded once; totals are sums of lines; the
difference between exact and rounded is kept. Nothing is rounded twice, nothing before the line.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

from ledger.domain.billing.tax import TaxLine
from ledger.domain.exchange import Conversion
from ledger.domain.money import EXACT, ZERO, round_minor, total
from ledger.domain.period import MICROSECOND, Period
from ledger.domain.pricing.price_model import Basis, PeriodUse, PriceModel, PricePart

# Behind what was used stand, in the order in which they are charged:
_LAST: Mapping[str, int] = MappingProxyType({"cost": 1, "discount": 2, "commitment": 3, "fee": 4})


class LineKey(NamedTuple):
    """What shares an invoice line: what was used, at which price, in which service period.

    `part` names a tier or a fee, where a price has several lines or is for no usage; `used_by` a
    customer below the one that is invoiced, who used it.
    """

    service_start: datetime
    service_end: datetime
    model: str
    tier: str
    adapter: str
    region: str
    context_band: int
    meter: str
    price_id: int
    part: str = ""
    used_by: str = ""

    @property
    def service_period(self) -> Period:
        """The period in which it was used."""
        return Period(self.service_start, self.service_end)


@dataclass(frozen=True, slots=True)
class Billed:
    """A quantity and its exact amount."""

    quantity: int
    exact: Decimal

    def __add__(self, other: "Billed") -> "Billed":
        return Billed(self.quantity + other.quantity, EXACT.add(self.exact, other.exact))

    def __sub__(self, other: "Billed") -> "Billed":
        return Billed(self.quantity - other.quantity, EXACT.subtract(self.exact, other.exact))


NOTHING = Billed(0, ZERO)


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line; `kind` is `usage`, `adjustment` for a period an earlier invoice billed, or
    `advance` for a fee of a period to come, and back where that is billed.

    `part` is what it is of its price; None: all of it, each unit at one amount. `charged_amount` is
    what it came to in the currency of its price, where that is another; None: `exact_amount`.
    """

    kind: str
    key: LineKey
    quantity: int
    exact_amount: Decimal
    amount: Decimal
    part: PricePart | None = None
    charged_amount: Decimal | None = None

    @property
    def charged(self) -> Decimal:
        """What it came to in the currency of its price."""
        return self.exact_amount if self.charged_amount is None else self.charged_amount


@dataclass(frozen=True, slots=True)
class InvoiceTotals:
    """Sums of an invoice: its lines before rounding, what is sold without tax, tax, and the part of
    the tax that the lines hold already; and what was charged, where prices are in another
    currency (None: `exact`)."""

    exact: Decimal
    net: Decimal
    tax: Decimal
    included: Decimal = ZERO
    charged_total: Decimal | None = None

    @property
    def charged(self) -> Decimal:
        """Its lines before rounding, in the currency of their prices."""
        return self.exact if self.charged_total is None else self.charged_total

    @property
    def payable(self) -> Decimal:
        """Net and tax."""
        return EXACT.add(self.net, self.tax)

    @property
    def gives_back(self) -> bool:
        """Whether the customer gets money: what changed since took more back than it added."""
        return self.payable < 0

    @property
    def rounding(self) -> Decimal:
        """Lines before rounding minus after: booked on the rounding account."""
        return EXACT.subtract(self.exact, EXACT.add(self.net, self.included))


def summed(items: Iterable[tuple[LineKey, Billed]]) -> dict[LineKey, Billed]:
    """Quantity and exact amount of each line key."""
    sums: dict[LineKey, Billed] = defaultdict(lambda: NOTHING)
    for key, billed in items:
        sums[key] = sums[key] + billed
    return dict(sums)


def usage_lines(
    charges: Mapping[LineKey, Billed],
    currency: str,
    mode: str = "half_up",
    prices: Mapping[int, PriceModel] = MappingProxyType({}),
) -> list[InvoiceLine]:
    """Lines of the period being billed, those of each user together: usage in order of key, then
    what is taken off, minimums and fees; what is nothing at all has no line.

    A price that looks at the period as a whole has a line for each part of it.
    """
    return [
        line
        for key, billed in _by_user(charges)
        if billed != NOTHING
        for line in _lines(key, billed, prices.get(key.price_id), currency, mode)
    ]


def adjustment_lines(
    changes: Mapping[LineKey, Billed],
    currency: str,
    mode: str = "half_up",
    prices: Mapping[int, PriceModel] = MappingProxyType({}),
) -> list[InvoiceLine]:
    """Lines of what changed about periods already invoiced, in the same order.

    Of a price that looks at a period as a whole, what this comes to anew less what it came to.
    """
    return [
        replace(_line(key, billed, currency, mode, _whole(prices, key, billed)), kind="adjustment")
        for key, billed in _by_user(changes)
        if billed != NOTHING
    ]


def _by_user(sums: Mapping[LineKey, Billed]) -> list[tuple[LineKey, Billed]]:
    return sorted(sums.items(), key=lambda item: _order(item[0]))


def _order(key: LineKey) -> tuple[str, int, LineKey]:
    return key.used_by, _LAST.get(key.meter, 0), key


def supplied_at(line: InvoiceLine) -> datetime:
    """The last moment of its service period: tax is what it was when the service was complete."""
    return line.key.service_end - MICROSECOND


def totals(
    lines: Sequence[InvoiceLine], taxes: Sequence[TaxLine] = (), *, currency: str
) -> InvoiceTotals:
    """Sums over the lines, and their tax, in the digits of a currency."""
    nothing = round_minor(ZERO, currency)
    amount = total([nothing, *(line.amount for line in lines)])
    included = total([nothing, *(tax.amount for tax in taxes if tax.key.included)])
    return InvoiceTotals(
        exact=total([line.exact_amount for line in lines]),
        net=EXACT.subtract(amount, included),
        tax=total([nothing, *(tax.amount for tax in taxes)]),
        included=included,
        charged_total=total([line.charged for line in lines]),
    )


def converted(
    lines: Iterable[InvoiceLine], conversion: Conversion, currency: str, mode: str
) -> list[InvoiceLine]:
    """The lines in another currency than that of their prices: exact amounts are converted, and
    rounded once to what is asked for."""
    return [
        replace(
            line,
            exact_amount=(exact := conversion.of(line.exact_amount)),
            amount=round_minor(exact, currency, mode),
            charged_amount=line.exact_amount,
        )
        for line in lines
    ]


def _lines(
    key: LineKey, billed: Billed, price: PriceModel | None, currency: str, mode: str
) -> Iterator[InvoiceLine]:
    if price is None or price.basis is Basis.EACH:
        yield _line(key, billed, currency, mode)
        return
    parts = price.parts(PeriodUse(billed.quantity)) if price.basis is Basis.POOL else ()
    if total([part.exact for part in parts]) != billed.exact:
        # Of a part of its period, or of time: what was charged is said in one.
        parts = (PricePart(price.title, 1, billed.exact),)
    for part in parts:
        named = key._replace(part=", ".join(filter(None, [key.part, part.name])))
        yield _line(named, Billed(part.quantity, part.exact), currency, mode, part)


def _whole(prices: Mapping[int, PriceModel], key: LineKey, billed: Billed) -> PricePart | None:
    price = prices.get(key.price_id)
    return PricePart("", 1, billed.exact) if price and price.basis is not Basis.EACH else None


def _line(
    key: LineKey, billed: Billed, currency: str, mode: str, part: PricePart | None = None
) -> InvoiceLine:
    return InvoiceLine(
        kind="usage",
        key=key,
        quantity=part.quantity if part else billed.quantity,
        exact_amount=billed.exact,
        amount=round_minor(billed.exact, currency, mode),
        part=part,
    )
