"""A customer on a card, with usage by the window, for tests of rating and invoices."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ledger.domain.author import Author
from ledger.domain.billing.issued import PDF
from ledger.flows.billing.document import find_or_render
from ledger.flows.books.book_revenue import book_revenue
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter import enter_rate_card, enter_subscription
from ledger.flows.reference.enter_grant import enter_grant
from ledger.flows.reference.enter_payment import enter_payment
from ledger.flows.reference.enter_tax import (
    enter_tax_rate,
    enter_tax_registration,
    enter_tax_treatment,
)
from ledger.flows.reference.parties import enter_customer, enter_entity
from ledger.store.billing.invoice import list_invoices
from ledger.store.queries import Connection
from ledger.wire.credit_inputs import NewGrant
from ledger.wire.inputs import NewSubscription, read_input
from ledger.wire.party_inputs import NewCustomer, NewEntity
from ledger.wire.price_inputs import NewRateCard
from ledger.wire.receivable_inputs import NewPayment
from ledger.wire.tax_inputs import NewTaxRate, NewTaxRegistration, NewTaxTreatment
from tests.support.books import Books, Buyer, Tokens

AUTHOR = Author("cli:test", "for a test", "req-1")
JANUARY_2023 = datetime(2023, 1, 1, tzinfo=UTC)
NOVEMBER = datetime(2023, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2023, 12, 1, tzinfo=UTC)
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)
WINDOW = datetime(2023, 11, 16, 18, 15, tzinfo=UTC)
NOW = datetime(2023, 12, 2, tzinfo=UTC)
ACME = Buyer()
SINCE = {"valid_from": "2020-01-01T00:00:00Z"}
DANISH = "DK13585628"


async def subscribed(
    connection: Connection,
    *,
    prices: tuple[str, ...] = ("5", "15"),
    meters: tuple[str, ...] = ("input", "output"),
    customer_id: str = "acme",
    entity_id: str = "factory",
    zone: str = "UTC",
    billed_in: str | None = None,
    since: datetime = JANUARY_2023,
    anchor_day: int = 1,
) -> Books:
    """A customer of an entity, on a card with input and output prices per million."""
    books = Books(connection)
    entity = {
        "entity_id": entity_id,
        "name": entity_id.title(),
        "currency": "USD",
        "zone": zone,
    }
    await enter_entity(connection, read_input(NewEntity, entity), AUTHOR)
    customer = {"customer_id": customer_id, "entity_id": entity_id, "name": customer_id.title()}
    await enter_customer(connection, read_input(NewCustomer, customer), AUTHOR)
    listed = [
        {"meter": meter, "amount": amount, "valid_from": "2023-01-01T00:00:00Z"}
        for meter, amount in zip(meters, prices, strict=False)
    ]
    card = {
        "rate_card_id": f"card-{customer_id}",
        "entity_id": entity_id,
        "name": "List prices",
        "currency": "USD",
        "prices": listed,
    }
    await enter_rate_card(connection, read_input(NewRateCard, card), AUTHOR)
    subscription = {
        "subscription_id": f"sub-{customer_id}",
        "customer_id": customer_id,
        "rate_card_id": f"card-{customer_id}",
        "valid_from": since.isoformat(),
        "anchor_day": anchor_day,
    } | ({"zone": billed_in} if billed_in else {})
    await enter_subscription(connection, read_input(NewSubscription, subscription), AUTHOR)
    return books


async def registered(connection: Connection) -> None:
    """The factory pays tax in Denmark, at its standard rate."""
    said = {"entity_id": "factory", "country": "DK", "tax_number": DANISH, **SINCE}
    await enter_tax_registration(connection, read_input(NewTaxRegistration, said), AUTHOR)
    rate = {"country": "DK", "percent": "25", **SINCE}
    await enter_tax_rate(connection, read_input(NewTaxRate, rate), AUTHOR)


async def treated(connection: Connection, treatment: str, *, included: bool = False) -> None:
    """How acme is taxed by Denmark, whatever was said before."""
    said = {"customer_id": "acme", "country": "DK", "treatment": treatment, "included": included}
    new = read_input(NewTaxTreatment, said | SINCE)
    await enter_tax_treatment(connection, new, AUTHOR, replace=True)


async def pay(connection: Connection, payment_id: str, amount: str, **more: Any) -> str:
    """Money of acme, in US dollars."""
    said = {"entity_id": "factory", "payment_id": payment_id, "customer_id": "acme"}
    told = {"paid_on": "2023-12-05", "currency": "USD", "amount": amount, **more}
    return await enter_payment(connection, read_input(NewPayment, said | told), AUTHOR)


async def grant(connection: Connection, grant_id: str, amount: str, **more: Any) -> str:
    """Credit of acme, in US dollars, from before its usage on."""
    said = {"entity_id": "factory", "grant_id": grant_id, "customer_id": "acme"}
    told = {"granted_on": "2023-10-01", "currency": "USD", "amount": amount, **more}
    return await enter_grant(connection, read_input(NewGrant, said | told), AUTHOR)


async def azure_hours(books: Books) -> None:
    """The totals of the Azure code trace, by hour."""
    hour = WINDOW.replace(minute=0)
    await books.usage(hour, Tokens(uncached=15_710_990, output=213_958))
    await books.usage(hour.replace(hour=19), Tokens(uncached=2_348_984, output=31_938))


async def settled(connection: Connection) -> tuple[int, int]:
    """Rows that rating and booking wrote."""
    rated = await rate(connection, now=NOW)
    booked = await book_revenue(connection, now=NOW)
    return rated.rows_written, booked.rows_written


async def balance_of(connection: Connection, account: str) -> Decimal:
    """Debit minus credit of an account over everything booked."""
    found = await connection.fetchval(
        "SELECT coalesce(sum(amount), 0) FROM posting WHERE account = $1", account
    )
    return Decimal(found)


async def document_of(connection: Connection, invoice_id: int, media_type: str = PDF) -> bytes:
    """A document of an invoice, as whoever asks for it first gets it."""
    (invoice,) = await list_invoices(connection, invoice_id=invoice_id)
    return await find_or_render(connection, invoice, media_type)
