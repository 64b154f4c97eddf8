"""What sites cost and used, as reports answer it."""

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Day, Moment, Number


class SiteCostSum(ClosedModel):
    """What a site cost under a name; `electricity` is energy at its price."""

    facility_id: str
    name: str
    currency: Currency
    amount: Amount


class MarginSites(ClosedModel):
    """What sites cost beside energy and hardware, by which policy it is shared, and what of it
    nobody takes; null where a cost is unknown."""

    site_policy: str
    site_costs: list[SiteCostSum] | None
    site_cost: Amount | None
    sites_left: Amount | None


class SiteCostDay(SiteCostSum):
    """The same on one local day of the site."""

    day: Day


class SiteEnergy(ClosedModel):
    """What a site used, and its highest quarter hour."""

    facility_id: str
    energy_mj: int
    energy_kwh: Number
    peak_kw: Number | None


class UtilityBill(ClosedModel):
    """What a utility asked for, `amount` without tax, for days of a site, the last one included."""

    bill_id: str
    facility_id: str
    first_day: Day
    last_day: Day
    kwh: Number
    amount: Amount
    tax: Amount
    currency: Currency
    covers: list[str]
    reference: str
    final: bool


class BillCompared(UtilityBill):
    """A bill beside what its days were said to take: `difference` is what it asks for beyond what
    was accrued, `reasons` what is wrong with it, and percentages are unknown of nothing."""

    metered_mj: int
    metered_kwh: Number
    energy_off_pct: Number | None
    accrued: Amount
    difference: Amount
    amount_off_pct: Number | None
    days: int
    days_without_readings: int
    reasons: list[str]


class Bills(ClosedModel):
    """Bills of an entity's sites that have a day in the period, each as a whole beside what was
    metered and accrued; off by more than the tolerance, they say so."""

    entity_id: str
    since: Moment
    until: Moment
    cut_off_id: int
    tolerance_pct: Number
    bills: list[BillCompared]


class Sites(ClosedModel):
    """What sites cost and used; costs beside energy and hardware are those of local days that
    begin in the period."""

    entity_id: str
    since: Moment
    until: Moment
    cut_off_id: int
    totals: list[SiteCostSum]
    days: list[SiteCostDay]
    energy: list[SiteEnergy]
