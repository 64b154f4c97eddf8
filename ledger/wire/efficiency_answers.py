"""What tokens took in energy, money, carbon and water, as reports answer it."""

from typing import Literal

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Day, Moment, Number
from ledger.wire.causes import Cause
from ledger.wire.interval_answers import Interval
from ledger.wire.plausible_answers import ImplausibleWork
from ledger.wire.report_answers import NOT_ASKED, Group


class Taken(ClosedModel):
    """Energy of the facility, cost in the report's currency, g CO2e by where the grid is and by
    what was contracted, and ml of water; null is unknown."""

    energy_mj: int
    energy_kwh: Number
    cost: Amount | None
    carbon_location_g: Number | None
    carbon_market_g: Number | None
    water_ml: Number | None


class PerMillion(ClosedModel):
    """What a million tokens took."""

    energy_kwh: Number
    cost: Amount | None
    carbon_location_g: Number | None
    carbon_market_g: Number | None
    water_ml: Number | None


class TokenKind(Taken):
    """What tokens of one kind took of it, by the weights of what served them."""

    kind: Literal["input_uncached", "input_cache_read", "input_cache_write", "output"]
    tokens: int
    per_million: PerMillion | None


class EfficiencyTotal(Taken):
    """All of it, idle and unattributed as well, and what that comes to for each million tokens; how
    much of it no meter measured, and whether any of it is implausible: then it may be off by any
    part, and its interval is null."""

    tokens: int
    output_tokens: int
    joules_per_output_token: Number | None
    output_tokens_per_kwh: Number | None
    per_million: PerMillion | None
    interval: Interval
    estimated_percent: Number | None
    implausible: bool


class EfficiencyRow(EfficiencyTotal, Group):
    """What one group's own work took; `kinds` is null where weights do not tell them apart."""

    day: Day = NOT_ASKED
    kinds: list[TokenKind] | None


class EfficiencyLine(Taken):
    """What was used and is nobody's."""

    line: Literal["idle", "unattributed", "unclaimed"]
    scope: str
    cause: Cause


class GridGap(ClosedModel):
    """When a site used energy and a series of it says nothing."""

    facility_id: str | None
    kind: Literal["carbon_location", "carbon_market", "water"]
    since: Moment
    until: Moment


class UncertainTerm(ClosedModel):
    """By how many per cent a fitted weight, or power at rest, may be off."""

    term: Literal["idle", "uncached", "cache_read", "output", "context", "step"]
    percent: Number


class WeightsUsed(ClosedModel):
    """By which weights a deployment's figures were shared, from when to when, who says so, and how
    far they may be off where they were fitted."""

    deployment_id: str
    weight_set_id: str | None
    version: int
    source: Literal["declared", "phase_time", "calibrated"]
    since: Moment
    until: Moment
    uncertain: list[UncertainTerm]


class Efficiency(ClosedModel):
    """What tokens took, all in `currency`; `missing` says what a cost lacks that is null,
    `grid_gaps` when carbon or water is unknown, and `weights` what told kinds of work apart."""

    entity_id: str
    since: Moment
    until: Moment
    cut_off_id: int
    currency: Currency
    missing: str | None
    by: list[str]
    order: str
    items: list[EfficiencyRow]
    own_lines: list[EfficiencyLine]
    total: EfficiencyTotal
    grid_gaps: list[GridGap]
    weights: list[WeightsUsed]
    implausible: list[ImplausibleWork]
