"""Decides what one invoice may hold: which period, which lines, within which bounds.

Invariant: no moment lies in two billed periods, and no invoice of a new period asks for less than
nothing; a supplementary one, that only says what changed since, may give back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from ledger.domain.billing.invoice import Billed, InvoiceLine, LineKey, summed
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import minor_digits, plain, total
from ledger.domain.period import Period
from ledger.domain.pricing.price_model import Basis, PriceModel
from ledger.domain.pricing.rate_card import BAND_EDGES, OUTCOME

# Beyond these an invoice is a mistake somewhere, and is refused rather than sent.
LINES_MAX = 10_000
MINOR_UNITS_MAX = 10**13


def clear_of(whole: Period, moment: datetime, billed: Sequence[Period]) -> Period:
    """The billing period of `moment`, or what is left of it beside periods billed before.

    A billed period stays as it was billed, whatever anchor day or validity came later; what changes
    inside it is an adjustment. `whole` must hold the moment.
    """
    for period in billed:
        if moment in period:
            return period
    start = max([whole.start, *(period.end for period in billed if period.end <= moment)])
    end = min([whole.end, *(period.start for period in billed if period.start > moment)])
    return Period(start, end)


def payable_lines(
    usage: Sequence[InvoiceLine], adjustments: Sequence[InvoiceLine]
) -> tuple[InvoiceLine, ...]:
    """All lines; usage alone where adjustments would take more back than there is to pay.

    Those stay pending: an invoice asks for payment. A supplementary one takes them by themselves.
    """
    both = (*usage, *adjustments)
    return both if not adjustments or total([line.amount for line in both]) >= 0 else tuple(usage)


@dataclass(frozen=True, slots=True)
class LinePrice:
    """A price that lines name, in which currency, since when, and what it is for; None is any."""

    price: PriceModel
    currency: str
    valid_from: datetime
    meter: str
    model: str | None
    tier: str | None
    adapter: str | None
    region: str | None
    band_from: int | None
    hours: str | None
    name: str
    project_id: str | None = None
    agent_id: str | None = None

    @property
    def context_band(self) -> int:
        """The band from which on it is for requests: what it does not tell apart is one line."""
        return BAND_EDGES.index(self.band_from or 0)

    @property
    def part(self) -> str:
        """What a line of it says beside what was used: without it two lines could look the same."""
        return ", ".join(
            filter(
                None,
                [
                    self.price.label,
                    f"project {self.project_id}" if self.project_id else "",
                    f"agent {self.agent_id}" if self.agent_id else "",
                    self.hours,
                    f"{self.name}: not billed" if self.meter == OUTCOME else self.name,
                ],
            )
        )


def pooled(
    sums: Mapping[LineKey, Billed], prices: Mapping[int, LinePrice], *, units: bool = True
) -> dict[LineKey, Billed]:
    """The sums with all that one price looks at together as one, named as the price is; without
    its units where not `units`, as where only amounts change. Contexts are told apart where prices
    do; what is of a project, an agent or some hours, or is not billed, says so."""
    banded = any(key.context_band for key in sums)
    if not banded and not any(_renames(prices[n]) for n in {key.price_id for key in sums}):
        return dict(sums)
    return summed(_named(key, billed, prices[key.price_id], units) for key, billed in sums.items())


def _renames(price: LinePrice) -> bool:
    return price.price.basis is not Basis.EACH or bool(price.part)


def _named(key: LineKey, billed: Billed, price: LinePrice, units: bool) -> tuple[LineKey, Billed]:
    if price.price.basis is not Basis.EACH:
        return _pooled_key(key, price), billed if units else replace(billed, quantity=0)
    return key._replace(part=price.part or key.part, context_band=price.context_band), billed


def _pooled_key(key: LineKey, price: LinePrice) -> LineKey:
    return key._replace(
        model=price.model or "",
        tier=price.tier or "",
        adapter=price.adapter or "",
        region=price.region or "",
        context_band=price.context_band,
        meter=price.meter,
        part=price.part,
    )


def with_same_terms(
    sums: Mapping[LineKey, Billed], prices: Mapping[int, PriceModel]
) -> dict[LineKey, Billed]:
    """The sums with lines that differ in nothing but prices of equal terms taken as one, at the
    newest of these.

    Entering a price again splits its validity and gives the parts ids of their own; a line is not
    split by that, and nothing about it changed.
    """
    if len(prices) < 2:
        return dict(sums)
    terms = {price_id: price.model_dump_json() for price_id, price in prices.items()}
    if len({*terms.values()}) == len(terms):
        return dict(sums)
    newest: dict[tuple[LineKey, str], int] = {}
    for key in sums:
        alike = (key._replace(price_id=0), terms[key.price_id])
        newest[alike] = max(key.price_id, newest.get(alike, 0))
    return summed(
        (key._replace(price_id=newest[key._replace(price_id=0), terms[key.price_id]]), billed)
        for key, billed in sums.items()
    )


def check_bounds(lines: Sequence[InvoiceLine], currency: str) -> None:
    """InvalidInputError where an invoice has absurdly many lines, or an absurd amount."""
    if len(lines) > LINES_MAX:
        raise InvalidInputError(
            f"The invoice would have {len(lines)} lines, more than {LINES_MAX}.",
            "Look at what the usage names as models, tiers and adapters.",
        )
    most = Decimal(MINOR_UNITS_MAX).scaleb(-minor_digits(currency))
    amounts = [line.amount for line in lines]
    for amount in (total(amounts), *amounts):
        if abs(amount) > most:
            raise InvalidInputError(
                f"The invoice would say {plain(amount)} {currency}, beyond {plain(most)}.",
                "Look at the prices and at the counts of the usage.",
            )
