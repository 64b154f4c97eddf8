"""Drafts invoices: charges of a billing period, and what changed about those billed before."""

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import TypeAlias

from ledger.domain.billing.advance import ToCome, advance_lines
from ledger.domain.billing.agreement import Agreement, EInvoiceForm, Terms
from ledger.domain.billing.draft import LinePrice, clear_of, payable_lines, pooled, with_same_terms
from ledger.domain.billing.e_invoice import check_e_invoice
from ledger.domain.billing.grant import Applied
from ledger.domain.billing.invoice import (
    Billed,
    InvoiceLine,
    InvoiceTotals,
    LineKey,
    adjustment_lines,
    supplied_at,
    totals,
    usage_lines,
)
from ledger.domain.billing.review import unusual
from ledger.domain.billing.tax import (
    Taxable,
    TaxKey,
    TaxLine,
    TaxRules,
    check_reverse_charge,
    find_key,
    registered_as,
    tax_lines,
)
from ledger.domain.billing.told_apart import told_apart
from ledger.domain.errors import LedgerError, NotFoundError, UnavailableError
from ledger.domain.exchange import Conversion
from ledger.domain.money import total
from ledger.domain.period import Period
from ledger.domain.pricing.price_model import PriceModel
from ledger.domain.pricing.rate_card import CardPrice
from ledger.domain.pricing.subscription import Subscription
from ledger.flows.billing.allocated import Allocated, find_allocated
from ledger.flows.billing.apply_credit import applied_of
from ledger.flows.billing.exchange import Rates, exchange, find_rates
from ledger.store.billing import draft as store
from ledger.store.billing.grants import DrawnOf, list_drawn_of
from ledger.store.billing.tax import find_rules
from ledger.store.connect import CutOff, draw_cut_off
from ledger.store.pricing import rating
from ledger.store.pricing.rating_periods import list_cost_plus_cards
from ledger.store.queries import Connection

# An open batch is stored within a fraction of a second; a worker that hangs is not waited for.
CUT_OFF_TRIES = 40
CUT_OFF_WAIT_S = 0.05
# A time, or a day in the zone of the subscription.
Moment: TypeAlias = datetime | date


@dataclass(frozen=True, slots=True)
class InvoiceDraft:
    """An invoice as it would be issued at a cut-off: everything but its number. `is_billed` says
    that an invoice of its period stands already.

    `uncosted` says that cost which it asks for is not allocated to the end of its period yet.
    `untaxed` is what is missing or wrong about its tax, of which it has none then; `incomplete` is
    what its electronic form would lack; `tax_keys` say how each line is taxed; `unusual` says
    why a person should look at it first; `exchange` is the rate by which prices of another
    currency became its own, and `unconverted` that there is none, so that it is in theirs; `marks`
    say what of its usage is not final, where that was asked for.
    """

    agreement: Agreement
    period: Period
    run_no: int
    is_billed: bool
    cut_off: CutOff
    lines: tuple[InvoiceLine, ...]
    totals: InvoiceTotals
    taxes: tuple[TaxLine, ...]
    tax_keys: tuple[TaxKey | None, ...]
    untaxed: LedgerError | None
    incomplete: LedgerError | None
    prices: Mapping[int, PriceModel]
    unpriced: tuple[rating.UnpricedUsage, ...]
    unusual: str | None
    uncosted: LedgerError | None = None
    marks: Mapping[str, int] = field(default_factory=dict)
    applied: tuple[Applied, ...] = ()
    exchange: Conversion | None = None
    unconverted: LedgerError | None = None

    @property
    def credit(self) -> Decimal:
        """What grants pay of it."""
        return total([each.amount for each in self.applied])

    @property
    def currency(self) -> str:
        """The currency that it asks for."""
        return self.agreement.terms.currency

    @property
    def subscription(self) -> Subscription:
        """Whose charges it bills."""
        return self.agreement.subscription


async def entity_of(connection: Connection, subscription_id: str) -> str:
    """The entity that invoices a subscription; NotFoundError without such a subscription."""
    cut_off = await draw_cut_off(connection, "invoice")
    agreements = await store.find_agreements(
        connection,
        subscription_ids=[subscription_id],
        batch_seq=cut_off.batch_seq,
        at=cut_off.drawn_at,
    )
    if subscription_id not in agreements:
        raise NotFoundError(
            f"There is no subscription {subscription_id!r}.", "See tokenledger list subscriptions."
        )
    return agreements[subscription_id][0].entity_id


async def cut_off_with_charges(connection: Connection, entity_id: str) -> CutOff:
    """A cut-off that no charge of the entity lies behind, as one may while a batch is open."""
    for _ in range(CUT_OFF_TRIES):
        cut_off = await draw_cut_off(connection, "invoice")
        if not await rating.has_changed_charges(
            connection, entity_id=entity_id, batch_seq=cut_off.batch_seq
        ):
            return cut_off
        await asyncio.sleep(CUT_OFF_WAIT_S)
    raise UnavailableError(
        f"A batch older than charges of {entity_id} is still being stored, and an invoice must not"
        " leave charges out.",
        "Try again; if a worker hangs, end its database session.",
    )


async def draft_invoices(
    connection: Connection,
    subscription_ids: Sequence[str],
    at: Moment,
    *,
    entity_id: str,
    cut_off: CutOff,
    now: datetime,
    billed_too: bool = True,
) -> dict[str, InvoiceDraft | LedgerError]:
    """The invoices of an entity's subscriptions for the billing periods that hold `at`, from the
    charges as they stand, each or why there is none; `billed_too` drafts what is billed already.

    Seller and buyers are named and addressed as they are `now`. What is read is read for all of
    them together.
    """
    agreements = await store.find_agreements(
        connection, subscription_ids=subscription_ids, batch_seq=cut_off.batch_seq, at=now
    )
    billed = await store.list_billed_periods(connection, subscription_ids=subscription_ids)
    drafts: dict[str, InvoiceDraft | LedgerError] = {}
    chosen = []
    for name in subscription_ids:
        try:
            each = _choose(name, agreements.get(name, ()), billed.get(name, ()), at)
        except LedgerError as error:
            drafts[name] = error
        else:
            if billed_too or not each.is_billed:
                chosen.append(each)
    facts = await _read(connection, chosen, entity_id=entity_id, cut_off=cut_off, now=now)
    return drafts | {each.name: _compose(each, facts) for each in chosen}


async def draft_overcharges(
    connection: Connection,
    subscription_ids: Sequence[str],
    *,
    entity_id: str,
    cut_off: CutOff,
    now: datetime,
) -> list[InvoiceDraft]:
    """Credit notes of what billed periods of an entity's subscriptions were charged too much, of
    those that no invoice to come takes it off."""
    apart = await store.list_credited_apart(connection, subscription_ids, at=now)
    billed = await store.list_billed_periods(connection, subscription_ids=apart) if apart else {}
    if not billed:
        return []
    agreements = await store.find_agreements(
        connection, subscription_ids=[*billed], batch_seq=cut_off.batch_seq, at=now
    )
    chosen = []
    for name, periods in billed.items():
        last = max((each.period.start for each in periods if each.stands), default=None)
        if last is not None and any(
            last in each.subscription.validity for each in agreements[name]
        ):
            chosen.append(_choose(name, agreements[name], periods, last))
    facts = await _read(connection, chosen, entity_id=entity_id, cut_off=cut_off, now=now)
    drafts = [_compose(each, facts) for each in chosen]
    return [draft for draft in drafts if draft.totals.gives_back]


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Which period of which agreement is to be billed, and what was billed of it before."""

    agreement: Agreement
    period: Period
    before: store.BilledPeriod | None
    to_come: Agreement | None
    is_next_billed: bool

    @property
    def name(self) -> str:
        return self.agreement.subscription.subscription_id

    @property
    def is_billed(self) -> bool:
        return self.before is not None and self.before.stands

    @property
    def asked(self) -> store.Billable:
        return store.Billable(self.name, self.agreement.customer_id, self.period)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What drafts are made of, by subscription, price and customer, at a cut-off."""

    cut_off: CutOff
    charges: Mapping[str, Mapping[LineKey, Billed]]
    pending: Mapping[str, Mapping[LineKey, Billed]]
    unpriced: Mapping[str, Sequence[rating.UnpricedUsage]]
    rules: Mapping[str, TaxRules]
    prices: Mapping[int, LinePrice]
    payables: Mapping[tuple[str, str], Sequence[Decimal]]
    advances: Mapping[str, Mapping[LineKey, Decimal]]
    fees: Mapping[str, Sequence[CardPrice]]
    own: Mapping[str, Sequence[Period]]
    drawn: Mapping[str, Sequence[DrawnOf]]
    cost_plus: Set[str]
    allocated: Allocated
    rates: Rates


def _choose(
    name: str, agreements: Sequence[Agreement], billed: Sequence[store.BilledPeriod], at: Moment
) -> _Chosen:
    agreement, moment = _valid_at(agreements, at, name)
    whole = agreement.subscription.billing_period(moment)
    period = clear_of(whole, moment, [each.period for each in billed])
    before = next((each for each in billed if each.period.start == period.start), None)
    behind = [each for each in agreements if period.end in each.subscription.validity]
    is_next_billed = any(each.stands and period.end in each.period for each in billed)
    return _Chosen(agreement, period, before, behind[0] if behind else None, is_next_billed)


async def _read(
    connection: Connection,
    chosen: Sequence[_Chosen],
    *,
    entity_id: str,
    cut_off: CutOff,
    now: datetime,
) -> _Facts:
    seq, asked = cut_off.batch_seq, [each.asked for each in chosen]
    customers = {each.subscription_id: each.customer_id for each in asked}
    unbilled = [each.asked for each in chosen if not each.is_billed]
    charges = await store.sum_period_charges(connection, unbilled, batch_seq=seq)
    pending = await store.sum_pending(connection, customers, batch_seq=seq)
    unpriced = await store.list_unpriced_of(connection, asked, entity_id=entity_id, batch_seq=seq)
    rules = await find_rules(
        connection, entity_id=entity_id, customers=customers.values(), batch_seq=seq
    )
    advances = await store.sum_advances(connection, list(customers))
    cards = {each.to_come.terms.rate_card_id for each in chosen if each.to_come}
    fees = await store.list_advance_fees(connection, cards, batch_seq=seq)
    own = (
        await store.list_own_times(connection, {*customers.values()}, batch_seq=seq) if fees else {}
    )
    named = {
        *(key.price_id for sums in (charges, pending) for keys in sums.values() for key in keys),
        *(key.price_id for keys in advances.values() for key in keys),
        *(price.price_id for prices in fees.values() for price in prices),
    }
    prices = await store.find_line_prices(connection, named)
    payables = await store.list_payables(connection, {*customers.values()})
    drawn = await list_drawn_of(connection, asked)
    plus = await list_cost_plus_cards(
        connection,
        rate_card_ids={each.agreement.terms.rate_card_id for each in chosen},
        batch_seq=seq,
    )
    allocated = await find_allocated(connection, entity_id) if plus else Allocated()
    rates = await find_rates(connection, [each.agreement for each in chosen], now, batch_seq=seq)
    return _Facts(
        *(cut_off, charges, pending, unpriced, rules, prices, payables, advances, fees, own),
        *(drawn, plus, allocated, rates),
    )


def _lines(each: _Chosen, facts: _Facts) -> tuple[InvoiceLine, ...]:
    """What it says, in the currency of prices."""
    agreement, terms = each.agreement, each.agreement.terms
    lines = tuple(_adjustments(terms, facts.pending[each.name], facts.prices))
    if not each.is_billed:
        if agreement.credits_overcharges and total([line.amount for line in lines]) < 0:
            lines = ()
        fresh, models = _merged(facts.charges[each.name], facts.prices)
        usage = usage_lines(fresh, terms.priced_in, terms.rounding, models)
        charged = {price_id: facts.prices[price_id] for price_id in models}
        usage = told_apart(usage, charged, agreement.subscription.zone)
        lines = payable_lines(usage, lines)
    return lines + tuple(_advances(each, facts))


def _compose(each: _Chosen, facts: _Facts) -> InvoiceDraft:
    exchanged = exchange(each.agreement, _lines(each, facts), facts.rates)
    agreement, lines = exchanged.agreement, exchanged.lines
    tax = _taxed(agreement, lines, facts.rules[agreement.customer_id])
    currency = agreement.terms.currency
    sums = totals(lines, tax.lines, currency=currency)
    history = facts.payables.get((agreement.customer_id, currency), ())
    return InvoiceDraft(
        agreement=tax.agreement,
        period=each.period,
        run_no=each.before.run_no + 1 if each.before else 1,
        is_billed=each.is_billed,
        cut_off=facts.cut_off,
        lines=lines,
        totals=sums,
        taxes=tax.lines,
        tax_keys=tax.keys,
        untaxed=tax.error,
        # Of nothing no invoice goes out.
        incomplete=_incomplete(tax) if lines else None,
        prices={line.key.price_id: facts.prices[line.key.price_id].price for line in lines},
        unpriced=tuple(facts.unpriced.get(each.name, ())),
        unusual=unusual(sums.payable, history, agreement.review, currency),
        uncosted=_uncosted(each, facts),
        applied=applied_of(
            facts.drawn.get(each.name, ()), sums, agreement.terms, exchanged.conversion
        ),
        exchange=exchanged.conversion,
        unconverted=exchanged.error,
    )


def _uncosted(each: _Chosen, facts: _Facts) -> LedgerError | None:
    if each.is_billed or each.agreement.terms.rate_card_id not in facts.cost_plus:
        return None
    return facts.allocated.lacks(each.period)


def _advances(each: _Chosen, facts: _Facts) -> list[InvoiceLine]:
    """What fees to come ask for in advance, and what was asked for of those that are billed."""
    terms, end = each.agreement.terms, each.period.end
    billed = facts.advances.get(each.name, {})
    to_come = None
    if each.is_next_billed:
        billed = {key: amount for key, amount in billed.items() if key.service_start < end}
    elif each.to_come and each.to_come.terms.priced_in == terms.priced_in:
        subscription = each.to_come.subscription
        prices = facts.fees.get(subscription.rate_card_id, ())
        own = facts.own.get(each.name, ())
        to_come = ToCome(subscription, subscription.billing_period(end), prices, own)
    return advance_lines(to_come, billed, terms.priced_in, terms.rounding)


@dataclass(frozen=True, slots=True)
class _Taxed:
    """How lines are taxed, by a seller under its number where they are, or why they cannot be."""

    agreement: Agreement
    lines: tuple[TaxLine, ...] = ()
    keys: tuple[TaxKey | None, ...] = ()
    error: LedgerError | None = None


def _incomplete(tax: _Taxed) -> LedgerError | None:
    """What an electronic invoice to this buyer would lack, were it issued now."""
    seller, buyer = tax.agreement.seller, tax.agreement.buyer
    if buyer.e_invoice is EInvoiceForm.NONE or tax.error is not None:
        return None
    try:
        check_e_invoice(
            *(seller, buyer, tax.lines),
            form=buyer.e_invoice,
            currency=tax.agreement.terms.currency,
        )
    except LedgerError as error:
        return error
    return None


def _taxed(agreement: Agreement, lines: Sequence[InvoiceLine], rules: TaxRules) -> _Taxed:
    terms = agreement.terms
    # Lines of a period share one moment: to look up by each one's own takes longer than the tax.
    last = {line.key.service_end: supplied_at(line) for line in lines}
    moments = [last[line.key.service_end] for line in lines]
    try:
        taxes = tax_lines(
            [Taxable(line.amount, at) for line, at in zip(lines, moments, strict=True)],
            rules,
            customer_id=agreement.customer_id,
            currency=terms.currency,
            mode=terms.rounding,
        )
        check_reverse_charge(taxes, agreement.buyer)
    except LedgerError as error:
        return _Taxed(agreement, error=error)
    if not taxes:
        return _Taxed(agreement)
    by_moment = {each: find_key(rules, each, agreement.customer_id) for each in {*moments}}
    number = registered_as(rules, taxes, max(moments))
    seller = replace(agreement.seller, tax_number=number) if number else agreement.seller
    keys = tuple(by_moment[moment] for moment in moments)
    return _Taxed(replace(agreement, seller=seller), tuple(taxes), keys)


def _valid_at(
    agreements: Sequence[Agreement], at: Moment, subscription_id: str
) -> tuple[Agreement, datetime]:
    for agreement in agreements:
        subscription = agreement.subscription
        moment = at if isinstance(at, datetime) else subscription.begin_of(at)
        if moment in subscription.validity:
            return agreement, moment
    raise NotFoundError(
        f"Subscription {subscription_id!r} is not valid at {at.isoformat()}.",
        "Name a moment inside its validity.",
    )


async def find_adjustments(
    connection: Connection, agreement: Agreement, cut_off: CutOff
) -> list[InvoiceLine]:
    """What changed about billed periods of a subscription, in the currency of its card."""
    name = agreement.subscription.subscription_id
    pending = await store.sum_pending(
        connection, {name: agreement.customer_id}, batch_seq=cut_off.batch_seq
    )
    prices = await store.find_line_prices(connection, {key.price_id for key in pending[name]})
    return _adjustments(agreement.terms, pending[name], prices)


def _adjustments(
    terms: Terms, changed: Mapping[LineKey, Billed], prices: Mapping[int, LinePrice]
) -> list[InvoiceLine]:
    # What was charged in another currency is not this invoice's to adjust.
    own = {
        key: sums
        for key, sums in changed.items()
        if prices[key.price_id].currency == terms.priced_in
    }
    merged, models = _merged(own, prices, units=False)
    return adjustment_lines(merged, terms.priced_in, terms.rounding, models)


def _merged(
    sums: Mapping[LineKey, Billed], prices: Mapping[int, LinePrice], *, units: bool = True
) -> tuple[dict[LineKey, Billed], dict[int, PriceModel]]:
    models = {key.price_id: prices[key.price_id].price for key in sums}
    return with_same_terms(pooled(sums, prices, units=units), models), models
