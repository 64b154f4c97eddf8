"""The shapes of invoices: as they would be, as they went out, and what is behind a line."""

from typing import Any, Literal

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Day, Moment, Number
from ledger.wire.margin_answers import Conversion
from ledger.wire.party_inputs import EInvoiceForm
from ledger.wire.report_answers import Marks
from ledger.wire.tax_inputs import TreatmentName
from ledger.wire.usage import Status
from ledger.wire.waiting_answers import Unpriced


class Issued(ClosedModel):
    """An invoice that went out."""

    invoice_id: int
    number: str
    net_total: Amount
    payable: Amount
    currency: Currency


class RunTotal(ClosedModel):
    """What went out in a run, in one currency."""

    currency: Currency
    invoices: int
    net_total: Amount
    payable: Amount


class ParkedInvoice(ClosedModel):
    """An invoice that could not go out, why, how often in a row and since when."""

    subscription_id: str
    period_start: Moment
    period_end: Moment
    reason: str
    failures: int
    first_failed_at: Moment


class InvoiceRun(ClosedModel):
    """What came of a run: how many invoices went out, how many periods are not over, and what is
    parked until it is mended; the next run tries it again."""

    entity_id: str
    issued: int
    not_over: int
    totals: list[RunTotal]
    parked: list[ParkedInvoice]


class TaxLine(ClosedModel):
    """Tax of a rate, 0 for none; `base` is without it, `category` a code of UNCL 5305."""

    country: str
    treatment: TreatmentName
    percent: Number
    included: bool
    reason: str
    category: Literal["S", "Z", "E", "AE", "G", "O"]
    base: Amount
    amount: Amount


class Invoice(ClosedModel):
    """An invoice as it was issued; `tax_included` is the tax that its lines hold already,
    `credit` what grants paid of it, and `charged_total` what it comes to in the currency of its
    prices."""

    invoice_id: int
    number: str
    entity_id: str
    customer_id: str
    subscription_id: str
    period_start: Moment
    period_end: Moment
    run_no: int
    currency: Currency
    priced_in: Currency
    charged_total: Amount
    exact_total: Amount
    net_total: Amount
    tax_total: Amount
    tax_included: Amount
    payable: Amount
    credit: Amount
    left_to_pay: Amount
    taxes: list[TaxLine]
    issued_at: Moment
    due_on: Day
    event_cut_off: Moment
    cut_off_id: int
    voided: bool


class IssuedCredit(ClosedModel):
    """What came of crediting an invoice; `on_account` is what it owed no more."""

    credit_note_id: int
    number: str
    invoice: str
    net_total: Amount
    tax_total: Amount
    payable: Amount
    on_account: Amount
    currency: Currency


Age = Literal["not_due", "days_1_to_30", "days_31_to_60", "days_61_to_90", "days_over_90"]


class OwedBy(ClosedModel):
    """What a customer owes in one currency, by how long it has been due, and has on account;
    `disputed` is what is open of invoices that they dispute."""

    customer_id: str
    currency: Currency
    not_due: Amount
    days_1_to_30: Amount
    days_31_to_60: Amount
    days_61_to_90: Amount
    days_over_90: Amount
    owed: Amount
    on_account: Amount
    disputed: Amount


class OpenInvoice(ClosedModel):
    """An invoice of which something is open: less credits and payments."""

    number: str
    customer_id: str
    currency: Currency
    issued_on: Day
    due_on: Day
    payable: Amount
    credited: Amount
    paid: Amount
    open: Amount
    age: Age
    disputed: bool
    reminders: int
    reminded_on: Day | None


class Receivables(ClosedModel):
    """What is open now, as old as it is on a day of the entity's zone."""

    today: Day
    customers: list[OwedBy]
    invoices: list[OpenInvoice]


class OpenedDispute(ClosedModel):
    """What was opened, of which invoice; `line_no` is null for all of it."""

    dispute_id: int
    invoice: str
    line_no: int | None


class ResolvedDispute(ClosedModel):
    """What was resolved by hand, and how."""

    dispute_id: int
    outcome: Literal["rejected", "withdrawn"]


class Party(ClosedModel):
    """Who sells or buys, as it was when the invoice went out."""

    name: str
    address: str
    tax_number: str
    email: str
    country: str
    electronic_address: str


class Seller(Party):
    """Who sells, and how it is paid."""

    payment_account: str
    payment_link: str


class Buyer(Party):
    """Who buys, what it wants named, and the form in which it gets invoices."""

    buyer_reference: str
    e_invoice: EInvoiceForm


class CardName(ClosedModel):
    """The rate card of an invoice."""

    id: str
    name: str


class InvoiceCutOff(ClosedModel):
    """Up to where events were counted: by their own time, and in the stored order."""

    events_until: Moment
    batch_seq: int


class Snapshot(ClosedModel):
    """What was true when an invoice went out; prices by their id, each with its model's terms."""

    seller: Seller
    buyer: Buyer
    rate_card: CardName
    language: str
    payment_days: int
    rounding: Literal["half_up", "half_even"]
    zone: str
    exchange: Conversion | None
    prices: dict[str, dict[str, Any]]
    cut_off: InvoiceCutOff


class IssuedLine(ClosedModel):
    """A line of an invoice that went out; `unit_amount` is the price of `per` units, `part` the
    tier or the name of a fee, where a price has several lines or is for no usage, `used_by` a
    customer below the invoiced one who used it."""

    invoice_id: int
    line_no: int
    customer_id: str
    kind: Literal["usage", "adjustment", "advance"]
    service_start: Moment
    service_end: Moment
    model: str
    tier: str
    adapter: str
    region: str
    context_band: int
    meter: str
    price_id: int
    part: str
    used_by: str
    description: str
    quantity: int
    unit_amount: Amount
    per: int
    charged_amount: Amount
    exact_amount: Amount
    amount: Amount


class WholeInvoice(Invoice):
    """An invoice with its lines and what was true of its parties."""

    snapshot: Snapshot
    lines: list[IssuedLine]


class DraftLine(ClosedModel):
    """A line of an invoice to come, in the words in which it is to go out; `unit_amount` is the
    price of `per` units."""

    kind: Literal["usage", "adjustment", "advance"]
    service_start: Moment
    service_end: Moment
    model: str
    tier: str
    adapter: str
    region: str
    context_band: int
    meter: str
    price_id: int
    part: str
    used_by: str
    description: str
    quantity: int
    unit_amount: Amount
    per: int
    charged_amount: Amount
    exact_amount: Amount
    amount: Amount


class Adjustment(DraftLine):
    """What changed about an invoiced period since: a line of the next invoice."""

    currency: Currency


class LackedSign(ClosedModel):
    """A sign that no font here shows, and where it stands."""

    where: str
    sign: str


class Draft(ClosedModel):
    """An invoice as it would be issued now, and by which rate prices become its currency."""

    subscription_id: str
    customer_id: str
    period_start: Moment
    period_end: Moment
    run_no: int
    cut_off_id: int
    currency: Currency
    priced_in: Currency
    charged_total: Amount
    exact_total: Amount
    net_total: Amount
    tax_total: Amount
    tax_included: Amount
    payable: Amount
    credit: Amount
    left_to_pay: Amount
    taxes: list[TaxLine]
    uncosted: str | None
    exchange: Conversion | None
    unconverted: str | None
    untaxed: str | None
    incomplete: str | None
    unusual: str | None
    rounding: Amount
    lines: list[DraftLine]
    unpriced: list[Unpriced]
    usage: Marks
    without_font: list[LackedSign]


class TracedEvent(ClosedModel):
    """An event behind a line, as it is stored; a count that it did not say is null, and `extras`
    are its counts of meters that few events use.

    A reversal takes back what an event counted, its replacement counts instead; a release is of
    usage whose customer became known later.
    """

    batch_seq: int
    ordinal: int
    kind: Literal["original", "reversal", "replacement", "release"]
    source: str | None
    event_id: str | None
    time: Moment
    started_at: Moment | None
    first_token_at: Moment | None
    ended_at: Moment | None
    requests: int
    uncached: int | None
    cache_read: int | None
    cache_write: int | None
    visible: int | None
    reasoning: int | None
    extras: dict[str, int]
    flags: list[str]
    tier_source: Literal["event", "key", "deployment", "entity"]
    status: Status | None
    agent_run_id: str | None


class Trace(ClosedModel):
    """A line, in the invoice's currency, and a page of the events behind it."""

    currency: Currency
    line: IssuedLine
    items: list[TracedEvent]
    next: str | None
