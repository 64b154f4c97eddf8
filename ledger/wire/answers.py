"""The shapes of answers about what is entered and sent, as the OpenAPI document says them.

Tests hold every answer to them, field by field. Decimals are text in plain notation.
"""

from typing import Any, Literal

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Day, Moment, Number
from ledger.wire.party_inputs import EInvoiceForm
from ledger.wire.tax_inputs import TreatmentName


class Dated(ClosedModel):
    """Holds from `valid_from` until `valid_to`; null has no end."""

    valid_from: Moment
    valid_to: Moment | None


class Entity(Dated):
    """A legal entity and its details of a time."""

    entity_id: str
    name: str
    address: str
    tax_number: str
    email: str
    country: str
    electronic_address: str
    payment_account: str
    payment_link: str
    language: str
    currency: Currency
    zone: str
    rounding: Literal["half_up", "half_even"]
    invoice_prefix: str
    default_tier: str
    payment_days: int
    review_times: int
    review_above: Amount
    overcharges: Literal["next_invoice", "credit_note"]
    is_test: bool


class Customer(Dated):
    """A customer and its details of a time; no language or payment days are the entity's."""

    customer_id: str
    entity_id: str
    name: str
    kind: Literal["organization", "person", "ai_agent"]
    address: str
    tax_number: str
    email: str
    country: str
    electronic_address: str
    buyer_reference: str
    e_invoice: EInvoiceForm
    language: str | None
    payment_days: int | None
    invoiced_in: Currency | None
    is_test: bool


class Alias(Dated):
    """Another system's name of a customer."""

    alias: str
    customer_id: str


class Parent(Dated):
    """Whose child a customer is; null: nobody's."""

    customer_id: str
    parent_id: str | None


class Facility(ClosedModel):
    """A site."""

    facility_id: str
    entity_id: str
    name: str
    zone: str


class Pue(Dated):
    """What a site adds to a GPU."""

    facility_id: str
    pue: Number
    host_mw_per_gpu: int


class EnergyMeter(Dated):
    """What a meter measures, and its calibration."""

    meter: str
    facility_id: str
    measures: str
    gpu_uuids: list[str]
    gain: Number
    offset_mw: int


class Asset(Dated):
    """GPUs, owned or leased."""

    asset_id: str
    entity_id: str
    facility_id: str
    name: str
    terms: Literal["owned", "lease"]
    gpu_count: int
    currency: Currency
    purchase_price: Amount | None
    residual_value: Amount | None
    in_service: Moment | None
    life_months: int | None
    gpu_hour_rate: Amount | None
    all_in: bool
    method: Literal["straight_line", "capital_recovery", "declining"]
    rate_percent: Number | None
    gpu_type: str | None


class Tariff(ClosedModel):
    """A contract for electricity."""

    tariff_id: str
    facility_id: str
    name: str
    currency: Currency


class TariffPrice(ClosedModel):
    """What one MWh costs in [start, end)."""

    tariff_id: str
    start: Moment
    end: Moment
    currency: Currency
    price_per_mwh: Amount


class GridFactor(ClosedModel):
    """What one kWh of a site takes in [start, end): g CO2e or ml of water, and who says so."""

    facility_id: str
    kind: Literal["carbon_location", "carbon_market", "water"]
    source: str
    start: Moment
    end: Moment
    per_kwh: Number


class SiteCost(Dated):
    """A cost of a site under its name; `params` are those of its rule, decimals as text."""

    facility_id: str
    name: str
    currency: Currency
    kind: str
    params: dict[str, object]


class Deployment(Dated):
    """Which GPUs serve which model."""

    deployment_id: str
    entity_id: str
    asset_id: str
    model: str
    tier: str | None
    gpu_count: int
    gpu_uuids: list[str]
    engine_instances: list[str]
    weight_version: int
    weight_uncached: int
    weight_cache_read: int
    weight_cache_write: int
    weight_output: int
    weight_context: int
    weight_step: int
    idle_mw_per_gpu: int | None
    slot_s: int
    prefill_chunk: int | None
    instance_gpus: dict[str, list[str]]
    gpu_share: Number
    mig_slices: list[str]
    gpu_split: str


class WeightTerms(ClosedModel):
    """Power at rest in mW, and microjoules of each kind of work; null was not fitted."""

    idle: int | None
    uncached: int | None
    cache_read: int | None
    output: int | None
    context: int | None
    step: int | None


class WeightEvidence(ClosedModel):
    """Of which slots weights were fitted, how well, and between what each term lies with 99 %."""

    since: str
    until: str
    cut_off_id: int
    slots: int
    idle_slots: int
    fit_error_percent: Number
    holdout_error_percent: Number
    condition: Number
    low: WeightTerms
    high: WeightTerms


class WeightSet(Dated):
    """What each kind of work takes at a deployment, in place of what it was declared with, and of
    what `evidence`; `unread` is what becomes of time in which no meter was read."""

    deployment_id: str
    weight_set_id: str
    entity_id: str
    version: int
    source: str
    uncached: int
    cache_read: int
    cache_write: int
    output: int
    context: int
    step: int
    idle_mw_per_gpu: int | None
    evidence: WeightEvidence | None
    unread: str


class IdlePolicy(Dated):
    """Who pays for what stood idle; `scope` null is every deployment that no other names."""

    entity_id: str
    scope: str | None
    version: int
    method: str
    reserved: dict[str, Number]


class RateCard(ClosedModel):
    """A dated set of prices."""

    rate_card_id: str
    entity_id: str
    name: str
    currency: Currency


class Price(Dated):
    """A price of a card; `params` are those of its model, decimals as text; `name` is of a fee,
    a discount or an outcome."""

    price_id: int
    rate_card_id: str
    meter: str
    project_id: str | None
    agent_id: str | None
    model: str | None
    tier: str | None
    adapter: str | None
    region: str | None
    band_from: int | None
    hours: str | None
    name: str
    kind: str
    params: dict[str, Any]
    currency: Currency


class Subscription(Dated):
    """A customer on a rate card."""

    subscription_id: str
    customer_id: str
    rate_card_id: str
    zone: str
    anchor_day: int
    models: list[str]


class TaxRate(Dated):
    """What a country takes, in per cent."""

    country: str
    kind: Literal["standard", "reduced"]
    percent: Number


class TaxRegistration(Dated):
    """Where an entity pays tax."""

    entity_id: str
    country: str
    tax_number: str


class TaxTreatment(Dated):
    """How a customer is taxed; `included` where prices hold the tax already."""

    customer_id: str
    country: str
    treatment: TreatmentName
    included: bool
    reason: str


class Payment(ClosedModel):
    """Money of a customer; `on_account` is what of it is for later, below zero what was taken."""

    payment_id: str
    entity_id: str
    customer_id: str
    kind: Literal["received", "refunded", "from_account"]
    paid_on: Day
    currency: Currency
    amount: Amount
    on_account: Amount
    invoice: str
    reference: str


class CreditNote(ClosedModel):
    """What was taken back of an invoice; `on_account` is what that owed no more."""

    number: str
    credit_note_id: int
    entity_id: str
    customer_id: str
    invoice: str
    currency: Currency
    net_total: Amount
    tax_total: Amount
    payable: Amount
    on_account: Amount
    issued_at: Moment
    reason: str
    voids: bool


class KeptLogo(ClosedModel):
    """The digest of an entity's logo; null where it has none any more."""

    entity_id: str
    sha256: str | None


class Dispute(ClosedModel):
    """What a customer says is wrong with an invoice, or a line of it; `outcome` is null while it is
    open, and the credit note is the one that resolved it."""

    dispute_id: int
    entity_id: str
    customer_id: str
    invoice: str
    line_no: int | None
    reason: str
    opened_at: Moment
    outcome: Literal["credited", "rejected", "withdrawn"] | None
    credit_note: str | None
    resolution: str | None
    resolved_at: Moment | None


class ExchangeRate(ClosedModel):
    """What one unit of base costs in quote on a day."""

    pair: str
    base: Currency
    quote: Currency
    day: Day
    rate: Number
    source: str


class Entered(ClosedModel):
    """What was entered or changed, by its id."""

    id: str


class Added(ClosedModel):
    """How many were not recorded already."""

    added: int


class Hole(ClosedModel):
    """[since, until), of which nothing is recorded."""

    since: Moment
    until: Moment


class AddedToSeries(Added):
    """How many were not recorded already, and the times beside or between what was sent of which
    nothing is recorded: what is metered then has no price, and a margin is refused."""

    holes: list[Hole]


class State(ClosedModel):
    """That it can serve."""

    status: str


class Work(ClosedModel):
    """When background work last succeeded, and how often it failed since."""

    succeeded_at: Moment | None
    failures: int


class Ready(ClosedModel):
    """That it can serve, background work by name, and how much is parked by stage."""

    status: str
    parked: dict[str, int]
    work: dict[str, Work]


class Item(ClosedModel):
    """What became of one item; `reason` and `detail` where it was refused."""

    ordinal: int
    outcome: Literal["created", "suspense", "superseded", "duplicate", "conflict", "rejected"]
    id: str | None = None
    reason: str | None = None
    detail: str | None = None


class Events(ClosedModel):
    """What became of a body, in all by fate and item by item.

    `unknown` counts the events with an attribute that nobody reads, by its name.
    """

    received: int
    batch_seq: int
    counts: dict[str, int]
    unknown: dict[str, int] | None = None
    items: list[Item]


class Format(ClosedModel):
    """A format of exports."""

    format: str
    file: str
    media_type: str
