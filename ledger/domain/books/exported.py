"""What files for finance are made of: a value for each line, in the order of its file."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from ledger.domain.cost.cost_sum import CostSum


@dataclass(frozen=True, slots=True)
class ExportedEntity:
    """An entity as its exports name it."""

    entity_id: str
    name: str
    currency: str
    zone: str


@dataclass(frozen=True, slots=True)
class JournalHead:
    """What the postings of a period name before the first of them: accounts and currencies, each
    once and sorted, and when the first was booked for (None: there is none)."""

    accounts: Sequence[str] = ()
    currencies: Sequence[str] = ()
    first: datetime | None = None


class JournalLine(NamedTuple):
    """A posting with its entry, the cut-off of that and of the revision before it (0: none).

    `corrects` is when it belongs to, where that was closed as it was booked.
    """

    line_no: int
    kind: str
    natural_key: str
    revision: int
    booked_for: datetime
    corrects: datetime | None
    account: str
    name: str
    amount: Decimal
    currency: str
    customer_id: str | None
    dimension: str
    tier: str
    model: str
    description: str
    cut_off: int
    booked_seq: int


class ExportedInvoice(NamedTuple):
    """An issued invoice."""

    number: str
    issued_at: datetime
    due_on: date
    customer_id: str
    customer_name: str
    subscription_id: str
    period_start: datetime
    period_end: datetime
    run_no: int
    currency: str
    priced_in: str
    charged_total: Decimal
    exact_total: Decimal
    net_total: Decimal
    tax_total: Decimal
    tax_included: Decimal
    payable: Decimal
    event_cut_off: datetime
    ledger_seq_to: int
    pdf_sha256: str | None


class ExportedLine(NamedTuple):
    """A line of an issued invoice."""

    number: str
    issued_at: datetime
    currency: str
    line_no: int
    customer_id: str
    kind: str
    service_start: datetime
    service_end: datetime
    model: str
    tier: str
    adapter: str
    region: str
    context_band: int
    meter: str
    used_by: str
    description: str
    quantity: int
    unit_amount: Decimal
    per: int
    priced_in: str
    charged_amount: Decimal
    exact_amount: Decimal
    amount: Decimal


class ExportedTax(NamedTuple):
    """Tax of an issued invoice at one rate; `base` is without it."""

    number: str
    issued_at: datetime
    customer_id: str
    customer_tax_number: str | None
    seller_tax_number: str | None
    currency: str
    line_no: int
    country: str
    treatment: str
    percent: Decimal
    included: bool
    reason: str
    base: Decimal
    amount: Decimal


class ExportedUsage(NamedTuple):
    """Requests and tokens of a key in a window, and how many of the requests lack what."""

    window_start: datetime
    customer_id: str | None
    customer_ref: str
    project_id: str
    api_key_id: str
    agent_id: str
    tier: str
    model: str
    adapter: str
    region: str
    context_band: int
    requests: int
    uncached: int
    cache_read: int
    cache_write: int
    visible: int
    reasoning: int
    estimated: int
    incomplete: int
    input_unknown: int
    output_unknown: int
    cached_unknown: int
    written_unknown: int
    reasoning_unknown: int


class ExportedExtra(NamedTuple):
    """What a key counts of a meter of extras in a window."""

    window_start: datetime
    customer_id: str | None
    customer_ref: str
    project_id: str
    api_key_id: str
    agent_id: str
    tier: str
    model: str
    adapter: str
    region: str
    context_band: int
    meter: str
    quantity: int


class ExportedMargin(NamedTuple):
    """Revenue beside cost of a group, before and after idle; energy in mJ, unknown tokens None."""

    customer: str
    tier: str
    model: str
    agent: str
    currency: str
    input_tokens: int | None
    input_cache_read: int | None
    output_tokens: int | None
    unpriced_tokens: int
    energy_mj: int
    revenue: Decimal
    electricity: Decimal
    gpu_cost: Decimal
    cost_before_idle: Decimal
    idle_share: Decimal
    site_share: Decimal
    cost: Decimal


class ExportedSiteCost(NamedTuple):
    """What a local day of a site cost under a name."""

    facility_id: str
    day_start: datetime
    name: str
    currency: str
    amount: Decimal


ExportedRow: TypeAlias = (
    JournalLine
    | ExportedInvoice
    | ExportedLine
    | ExportedTax
    | ExportedUsage
    | ExportedExtra
    | CostSum
    | ExportedMargin
    | ExportedSiteCost
)
