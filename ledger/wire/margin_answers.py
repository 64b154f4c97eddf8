"""The shapes of revenue beside cost: margins, and by hour."""

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Day, Moment, Number
from ledger.wire.causes import Cause
from ledger.wire.interval_answers import MarginInterval
from ledger.wire.plausible_answers import ImplausibleWork
from ledger.wire.report_answers import Group
from ledger.wire.site_answers import MarginSites


class Hour(ClosedModel):
    """Revenue and cost of an hour or day in one currency; no cost is unknown."""

    hour: Moment
    currency: Currency
    revenue: Amount
    cost: Amount | None
    idle: Amount | None


class MarginRow(Group):
    """One group, or the total: usage, energy, cost and revenue; what no cost says is null."""

    requests: int
    input_tokens: int | None
    input_uncached: int | None
    input_cache_read: int | None
    input_cache_write: int | None
    output_tokens: int | None
    device_metered_mj: int | None
    device_estimated_mj: int | None
    host_mj: int | None
    overhead_mj: int | None
    energy_mj: int | None
    energy_kwh: Number | None
    joules_per_output_token: Number | None
    electricity: Amount | None
    gpu_cost: Amount | None
    cost_before_idle: Amount | None
    idle_share: Amount | None
    site_share: Amount | None
    cost: Amount | None
    revenue: Amount
    unpriced_tokens: int
    gross_margin_before_idle_pct: Number | None
    gross_margin_pct: Number | None
    markup_pct: Number | None
    interval: MarginInterval | None = None


class OwnLine(ClosedModel):
    """Energy and cost that are no usage's, and why."""

    line: str
    scope: str
    cause: Cause
    device_metered_mj: int
    device_estimated_mj: int
    energy_mj: int
    energy_kwh: Number
    electricity: Amount
    gpu_cost: Amount
    cost: Amount
    shared_by_nobody: Amount


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


class IdlePolicyInForce(ClosedModel):
    """Who pays for idle of a scope, null of every deployment that no other names, and from when to
    when; `reserved` is each tier's share."""

    scope: str | None
    version: int
    method: str
    reserved: dict[str, Number]
    valid_from: Moment
    valid_to: Moment | None


class Margin(MarginSites):
    """Cost beside revenue, all in `currency`; `missing` says what a cost lacks that is null."""

    entity_id: str
    since: Moment
    until: Moment
    cut_off_id: int
    currency: Currency
    missing: str | None
    by: list[str]
    items: list[MarginRow]
    own_lines: list[OwnLine]
    total: MarginRow
    energy_mj: int | None
    energy_kwh: Number | None
    idle_policy: str
    idle_policies: list[IdlePolicyInForce]
    idle_cost: Amount | None
    unattributed_cost: Amount | None
    conservation: Conservation | None
    conversions: list[Conversion]
    implausible: list[ImplausibleWork]
