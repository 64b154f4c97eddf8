"""The shapes of reports of usage, extras and charges, and what their rows share."""

from pydantic import Field

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Moment

# A field that is not there, where it is not asked for.
NOT_ASKED: str = Field(default_factory=str)


class Marks(ClosedModel):
    """How many of the requests are no final count, by what they lack."""

    requests: int
    estimated: int
    incomplete: int
    input_unknown: int
    output_unknown: int
    cached_unknown: int
    written_unknown: int
    reasoning_unknown: int


class Group(ClosedModel):
    """What a row is of: the dimensions that were asked for, and no others."""

    customer: str = NOT_ASKED
    model: str = NOT_ASKED
    tier: str = NOT_ASKED
    agent: str = NOT_ASKED
    project: str = NOT_ASKED
    api_key: str = NOT_ASKED
    adapter: str = NOT_ASKED
    region: str = NOT_ASKED
    outcome: str = NOT_ASKED
    meter: str = NOT_ASKED
    window: Moment = NOT_ASKED
    hour: Moment = NOT_ASKED
    day: Moment = NOT_ASKED


class UsageCounts(Marks):
    """Requests and tokens; a count that no request said is unknown, null."""

    input_tokens: int | None
    output_tokens: int | None
    uncached: int | None
    cache_read: int | None
    cache_write: int | None
    visible: int | None
    reasoning: int | None


class UsageRow(UsageCounts, Group):
    """Requests and tokens of one group."""


class UsageReport(ClosedModel):
    """A page of the usage of a period by the dimensions asked for, days and hours in `zone`."""

    since: Moment
    until: Moment
    zone: str
    cut_off_id: int
    by: list[str]
    items: list[UsageRow]
    total: UsageCounts
    next: str | None


class ExtraRow(Group):
    """What one group counts of one meter."""

    meter: str
    quantity: int


class ExtrasReport(ClosedModel):
    """A page of the extras of a period by the dimensions asked for, days and hours in `zone`."""

    since: Moment
    until: Moment
    zone: str
    cut_off_id: int
    by: list[str]
    items: list[ExtraRow]
    next: str | None


class ChargeRow(Group):
    """What one group's usage comes to in one currency; without a price both are null."""

    currency: Currency | None
    amount: Amount | None
    quantity: int
    unpriced_quantity: int


class ChargesReport(ClosedModel):
    """A page of the charges of a period by the dimensions asked for, days and hours in `zone`.

    What was stored after `rated_to` is not charged yet; null where nothing ever was.
    """

    since: Moment
    until: Moment
    zone: str
    cut_off_id: int
    by: list[str]
    rated_to: Moment | None
    items: list[ChargeRow]
    next: str | None


class Activity(ClosedModel):
    """When usage began and ended; null where there is none."""

    since: Moment | None
    until: Moment | None
