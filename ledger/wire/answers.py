"""The shapes of answers, as the OpenAPI document says them; a test holds what is sent to them.

Money and other decimals are text in plain notation, beside a currency; counts are whole numbers.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Amount = Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Day = Annotated[str, Field(json_schema_extra={"format": "date"})]


class Row(BaseModel):
    """A row that has these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Report(BaseModel):
    """A report that has these fields; later versions may add others."""

    model_config = ConfigDict(extra="allow")


class Dated(Row):
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
    language: str
    currency: Currency
    zone: str
    rounding: Literal["half_up", "half_even"]
    invoice_prefix: str
    default_tier: str
    payment_days: int
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
    language: str | None
    payment_days: int | None
    is_test: bool


class Alias(Dated):
    """Another system's name of a customer."""

    alias: str
    customer_id: str


class Facility(Row):
    """A site."""

    facility_id: str
    entity_id: str
    name: str
    zone: str


class Pue(Dated):
    """What a site adds to a GPU."""

    facility_id: str
    pue: Amount
    host_mw_per_gpu: int


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


class Tariff(Row):
    """A contract for electricity."""

    tariff_id: str
    facility_id: str
    name: str
    currency: Currency


class TariffPrice(Row):
    """What one MWh costs in [start, end)."""

    tariff_id: str
    start: Moment
    end: Moment
    currency: Currency
    price_per_mwh: Amount


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


class RateCard(Row):
    """A dated set of prices."""

    rate_card_id: str
    entity_id: str
    name: str
    currency: Currency


class Price(Dated):
    """A price of a card; `params` are those of its model, decimals as text."""

    price_id: int
    rate_card_id: str
    meter: str
    model: str | None
    tier: str | None
    adapter: str | None
    region: str | None
    band_from: int | None
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


class ExchangeRate(Row):
    """What one unit of base costs in quote on a day."""

    pair: str
    base: Currency
    quote: Currency
    day: Day
    rate: Amount
    source: str


class Key(Row):
    """An API key without its secret."""

    key_id: str
    role: Literal["admin", "finance", "ingest", "customer"]
    name: str
    entity_id: str | None
    customer_id: str | None
    sources: list[str]
    customers: list[str]
    tier: str | None
    created_at: Moment
    revoked_at: Moment | None


class NewKey(Row):
    """A key that was made; its text is shown this once."""

    key_id: str
    key: str


class RevokedKey(Row):
    """A key that opens nothing any more."""

    key_id: str
    revoked: bool


class Entered(Row):
    """What was entered or changed, by its id."""

    id: str


class Added(Row):
    """How many were not recorded already."""

    added: int


class State(Row):
    """That it can serve."""

    status: str


class Ready(Report):
    """That it can serve, when background work last succeeded, and what is parked."""

    status: str
    parked: Any
    work: dict[str, Any]


class Item(Row):
    """What became of one item; `reason` and `detail` where it was refused."""

    ordinal: int
    outcome: Literal["created", "suspense", "superseded", "duplicate", "conflict", "rejected"]
    id: str | None = None
    reason: str | None = None
    detail: str | None = None


class Events(Row):
    """What became of a body, in all by fate and item by item."""

    received: int
    batch_seq: int
    counts: dict[str, int]
    items: list[Item]


class FieldProblem(Row):
    """What is wrong with one field."""

    pointer: str
    found: str
    detail: str


class Problem(BaseModel):
    """What went wrong (RFC 9457): `pointer` or `errors` name fields, `items` their fates."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    pointer: str | None = None
    errors: list[FieldProblem] | None = None
    received: int | None = None
    batch_seq: int | None = None
    counts: dict[str, int] | None = None
    items: list[Item] | None = None


class UsageRow(Report):
    """Requests and tokens of one group; it is named by the dimensions asked for."""

    requests: int
    uncached: int
    cache_read: int
    cache_write: int
    visible: int
    reasoning: int


class UsageReport(Report):
    """Usage of a period by the dimensions asked for."""

    since: Moment
    until: Moment
    by: list[str]
    items: list[UsageRow]


class ChargeRow(Report):
    """What one group's usage comes to in one currency; it is named by the dimensions asked for."""

    currency: Currency | None
    amount: Amount | None
    quantity: int
    unpriced_quantity: int


class ChargesReport(Report):
    """Charges of a period by the dimensions asked for."""

    since: Moment
    until: Moment
    by: list[str]
    items: list[ChargeRow]


class Hour(Row):
    """Revenue and cost of an hour or day in one currency; no cost is unknown."""

    hour: Moment
    currency: Currency
    revenue: Amount
    cost: Amount | None
    idle: Amount | None


class Activity(Row):
    """When usage began and ended; null where there is none."""

    since: Moment | None
    until: Moment | None


class Margin(Report):
    """Cost beside revenue, all in `currency`; `missing` says what a cost lacks that is null."""

    entity_id: str
    since: Moment
    until: Moment
    currency: Currency
    by: list[str]
    rows: list[dict[str, Any]]
    total: dict[str, Any]
    missing: str | None


class Energy(Report):
    """Energy and tokens, by model and by scope."""

    entity_id: str


class Coverage(Report):
    """What meters and deployments cover."""

    entity_id: str
    energy: list[dict[str, Any]]
    engines: list[dict[str, Any]]


class Status(Report):
    """How the ledger stands."""

    now: Moment
    sources: list[dict[str, Any]]
    fates: dict[str, Any]


class InvoiceAsk(Row):
    """Which invoice: of the billing period that holds `at`, a moment or a day of its zone."""

    subscription_id: str
    at: str
    allow_unpriced: bool = False
    allow_open_period: bool = False
    supplementary: bool = False


class Issued(Report):
    """An invoice that went out."""

    invoice_id: int
    number: str
    net_total: Amount
    payable: Amount
    currency: Currency


class Invoice(Report):
    """An invoice as it was issued."""

    invoice_id: int
    number: str
    entity_id: str
    customer_id: str
    subscription_id: str
    currency: Currency
    net_total: Amount
    tax_total: Amount
    payable: Amount
    issued_at: Moment
    due_on: Day


class WholeInvoice(Invoice):
    """An invoice with its lines and what was true of its parties."""

    snapshot: dict[str, Any]
    lines: list[dict[str, Any]]


class Draft(Report):
    """An invoice as it would be issued now."""

    subscription_id: str
    customer_id: str
    currency: Currency
    net_total: Amount
    tax_total: Amount
    payable: Amount
    lines: list[dict[str, Any]]


class Trace(Report):
    """A line and a page of the events behind it."""

    line: dict[str, Any]
    items: list[dict[str, Any]]
    next: str | None


class Released(Report):
    """How much was booked to the customer a name now is."""

    customer_ref: str
    released: int


class Format(Row):
    """A format of exports."""

    format: str
    file: str
    media_type: str


class Waiting(Report):
    """Something that waits; its fields say what and why."""


class Conflict(Report):
    """Other content under an identity that was taken; one alone has `stored` and `offered`."""

    conflict_id: int
    source: str
    resolution: str | None
    reason: str | None


class Dismissed(Report):
    """An event that no longer waits, and what became of it."""

    quarantine_id: int


class Decided(Report):
    """What was decided about what waited; its fields say how much."""


class Resolved(Report):
    """Which side of a conflict it was, and what became of the events that this led to."""

    conflict_id: int
    resolution: Literal["kept", "corrected", "resent"]
    events: list[str]
