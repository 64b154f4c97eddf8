"""Drafts invoices: charges of a billing period, and what changed about those billed before."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TypeAlias

from ledger.domain.billing.agreement import Agreement, EInvoiceForm
from ledger.domain.billing.draft import clear_of, payable_lines, pooled, with_same_terms
from ledger.domain.billing.e_invoice import check_e_invoice
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
from ledger.domain.billing.tax import (
    Taxable,
    TaxKey,
    TaxLine,
    check_reverse_charge,
    find_key,
    registered_as,
    tax_lines,
)
from ledger.domain.errors import LedgerError, NotFoundError, UnavailableError
from ledger.domain.period import Period
from ledger.domain.pricing.price_model import PriceModel
from ledger.domain.pricing.subscription import Subscription
from ledger.store.billing import draft as store
from ledger.store.billing.tax import find_rules
from ledger.store.connect import CutOff, draw_cut_off
from ledger.store.operations import sum_usage_marks
from ledger.store.pricing import rating
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

    `untaxed` is what is missing or wrong about its tax, of which it has none then; `incomplete` is
    what its electronic form would lack; `tax_keys` say how each line is taxed.
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
    prices: dict[int, PriceModel]
    unpriced: tuple[rating.UnpricedUsage, ...]
    marks: Mapping[str, int]

    @property
    def currency(self) -> str:
        """The currency of its rate card."""
        return self.agreement.terms.currency

    @property
    def subscription(self) -> Subscription:
        """Whose charges it bills."""
        return self.agreement.subscription


async def entity_of(connection: Connection, subscription_id: str) -> str:
    """The entity that invoices a subscription; NotFoundError without such a subscription."""
    cut_off = await draw_cut_off(connection, "invoice")
    found = await store.find_agreements(
        connection,
        subscription_id=subscription_id,
        batch_seq=cut_off.batch_seq,
        at=cut_off.drawn_at,
    )
    if not found:
        raise NotFoundError(
            f"There is no subscription {subscription_id!r}.", "List them with the subscriptions."
        )
    return found[0].entity_id


async def _cut_off_with_charges(connection: Connection, entity_id: str) -> CutOff:
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


async def draft_invoice(
    connection: Connection, subscription_id: str, at: Moment, *, now: datetime
) -> InvoiceDraft:
    """The invoice of the billing period that holds `at`, from the charges as they stand.

    Seller and buyer are named and addressed as they are `now`.
    """
    cut_off = await _cut_off_with_charges(connection, await entity_of(connection, subscription_id))
    agreements = await store.find_agreements(
        connection, subscription_id=subscription_id, batch_seq=cut_off.batch_seq, at=now
    )
    agreement, moment = _valid_at(agreements, at, subscription_id)
    subscription, terms = agreement.subscription, agreement.terms
    billed = await store.list_billed_periods(connection, subscription_id=subscription_id)
    period = clear_of(
        subscription.billing_period(moment),
        moment,
        [one.period for one in billed],
    )
    charges = await store.sum_period_charges(
        connection,
        subscription_id=subscription_id,
        customer_id=subscription.customer_id,
        period=period,
        batch_seq=cut_off.batch_seq,
    )
    before = next((each for each in billed if each.period.start == period.start), None)
    is_billed = before is not None and before.stands
    lines = tuple(await find_adjustments(connection, agreement, cut_off))
    if not is_billed:
        fresh, models = await _merged(connection, charges)
        usage = usage_lines(fresh, terms.currency, terms.rounding, models)
        lines = payable_lines(usage, lines)
    unpriced = await rating.list_unpriced(
        connection,
        entity_id=agreement.entity_id,
        batch_seq=cut_off.batch_seq,
        customer_id=subscription.customer_id,
        subscription_id=subscription_id,
        since=period.start,
        until=period.end,
    )
    prices = await _find_models(connection, [line.key.price_id for line in lines])
    tax = await _taxed(connection, agreement, lines, cut_off)
    agreement = tax.agreement
    return InvoiceDraft(
        agreement=agreement,
        period=period,
        run_no=before.run_no + 1 if before else 1,
        is_billed=is_billed,
        cut_off=cut_off,
        lines=lines,
        totals=totals(lines, tax.lines),
        taxes=tax.lines,
        tax_keys=tax.keys,
        untaxed=tax.error,
        incomplete=_incomplete(tax),
        prices=prices,
        unpriced=tuple(unpriced),
        marks=await sum_usage_marks(
            connection,
            since=period.start,
            until=period.end,
            batch_seq=cut_off.batch_seq,
            customer_id=subscription.customer_id,
        ),
    )


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
        check_e_invoice(seller, buyer, tax.lines, form=buyer.e_invoice)
    except LedgerError as error:
        return error
    return None


async def _taxed(
    connection: Connection, agreement: Agreement, lines: Sequence[InvoiceLine], cut_off: CutOff
) -> _Taxed:
    terms = agreement.terms
    rules = await find_rules(
        connection,
        entity_id=agreement.entity_id,
        customer_id=agreement.customer_id,
        batch_seq=cut_off.batch_seq,
    )
    try:
        taxes = tax_lines(
            [Taxable(line.amount, supplied_at(line)) for line in lines],
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
    keys = tuple(find_key(rules, supplied_at(line), agreement.customer_id) for line in lines)
    number = registered_as(rules, taxes, max(supplied_at(line) for line in lines))
    seller = replace(agreement.seller, tax_number=number) if number else agreement.seller
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
    subscription_id, terms = agreement.subscription.subscription_id, agreement.terms
    changed = await store.sum_pending(
        connection,
        subscription_id=subscription_id,
        customer_id=agreement.customer_id,
        batch_seq=cut_off.batch_seq,
    )
    # What was charged in another currency is not this invoice's to adjust.
    currencies = await rating.find_price_currencies(
        connection, price_ids={key.price_id for key in changed}
    )
    own = {key: sums for key, sums in changed.items() if currencies[key.price_id] == terms.currency}
    merged, prices = await _merged(connection, own, units=False)
    return adjustment_lines(merged, terms.currency, terms.rounding, prices)


async def _merged(
    connection: Connection, sums: Mapping[LineKey, Billed], *, units: bool = True
) -> tuple[dict[LineKey, Billed], dict[int, PriceModel]]:
    prices = await store.find_line_prices(connection, [key.price_id for key in sums])
    models = {price_id: one.price for price_id, one in prices.items()}
    return with_same_terms(pooled(sums, prices, units=units), models), models


async def _find_models(connection: Connection, price_ids: Sequence[int]) -> dict[int, PriceModel]:
    found = await store.find_line_prices(connection, price_ids)
    return {price_id: one.price for price_id, one in found.items()}
