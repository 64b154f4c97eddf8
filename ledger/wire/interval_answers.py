"""Between what figures of reports lie."""

from ledger.wire.answer_fields import ClosedModel, Number


class Ends(ClosedModel):
    """Between what a figure lies."""

    low: Number
    high: Number


class Interval(ClosedModel):
    """By how many per cent energy and cost may be off, by meters, estimates and weights, and
    between what the figures of a token lie; null is unknown."""

    energy_percent: Number | None
    cost_percent: Number | None
    joules_per_output_token: Ends | None
    cost_per_million: Ends | None


class MarginInterval(Interval):
    """The same of a row of a margin, whose cost has its shares of idle and of sites, and between
    what its gross margin lies."""

    gross_margin_pct: Ends | None
