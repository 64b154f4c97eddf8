"""The shapes of revenue beside cost: margins, and by hour."""

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Day, Moment, Number
from ledger.wire.cost_answers import Allocated, AllocatedRow
from ledger.wire.interval_answers import MarginInterval


class Hour(ClosedModel):
    """Revenue and cost of an hour or day in one currency; no cost is unknown."""

    hour: Moment
    currency: Currency
    revenue: Amount
    cost: Amount | None
    idle: Amount | None


class MarginRow(AllocatedRow):
    """The same, with revenue and what it leaves."""

    revenue: Amount
    unpriced_tokens: int
    gross_margin_before_idle_pct: Number | None
    gross_margin_pct: Number | None
    markup_pct: Number | None
    interval: MarginInterval | None = None


class Conservation(ClosedModel):
    """That nothing was lost: both residuals are 0."""

    metered_mj: int
    estimated_mj: int
    metered_pct: Number | None
    energy_residual_mj: int
    cost_residual: Amount


class Conversion(ClosedModel):
    """A published rate that amounts were converted by."""

    base: Currency
    quote: Currency
    published: Day
    multiplier: Number
    divisor: Number
    source: str


class Margin(Allocated):
    """Cost beside revenue, all in `currency`; `missing` says what a cost lacks that is null."""

    items: list[MarginRow]
    total: MarginRow
    conservation: Conservation | None
    conversions: list[Conversion]
