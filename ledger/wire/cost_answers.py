"""The shapes of what was allocated to groups, and of costs by kind and by day."""

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Day, Moment, Number
from ledger.wire.causes import Cause
from ledger.wire.plausible_answers import ImplausibleWork
from ledger.wire.report_answers import Group
from ledger.wire.site_answers import MarginSites


class AllocatedRow(Group):
    """One group, or the total: usage, energy and cost; what no cost says is null."""

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


class IdlePolicyInForce(ClosedModel):
    """Who pays for idle of a scope, null of every deployment that no other names, and from when to
    when; `reserved` is each tier's share."""

    scope: str | None
    version: int
    method: str
    reserved: dict[str, Number]
    valid_from: Moment
    valid_to: Moment | None


class Allocated(MarginSites):
    """What an entity's period took and cost, all in `currency`; `missing` says what a cost lacks
    that is null."""

    entity_id: str
    since: Moment
    until: Moment
    cut_off_id: int
    currency: Currency
    missing: str | None
    by: list[str]
    own_lines: list[OwnLine]
    energy_mj: int | None
    energy_kwh: Number | None
    idle_policy: str
    idle_policies: list[IdlePolicyInForce]
    idle_cost: Amount | None
    unattributed_cost: Amount | None
    implausible: list[ImplausibleWork]


class CostRow(AllocatedRow):
    """The same, with what a million of its tokens cost: of its own work, and with all shares."""

    cost_per_million_before_idle: Amount | None
    cost_per_million: Amount | None


class CostKind(ClosedModel):
    """What was spent on something: electricity of boards and hosts, what a site used beside them,
    hardware, or what a site costs under a name."""

    kind: str
    facility_id: str | None
    amount: Amount
    percent: Number | None


class CostDay(ClosedModel):
    """A local day: energy, and cost by kind, of which `idle` and `unattributed` were no usage's."""

    day: Day
    energy_mj: int
    energy_kwh: Number
    electricity: Amount
    overhead: Amount
    gpu_cost: Amount
    site_cost: Amount
    cost: Amount
    idle: Amount
    unattributed: Amount


class Costs(Allocated):
    """Cost by who used what, by kind and by day; each of the three comes to the same total."""

    items: list[CostRow]
    total: CostRow
    kinds: list[CostKind] | None
    days: list[CostDay] | None
