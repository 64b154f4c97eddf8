"""Tax entered by hand: what countries take, where entities pay it, how customers are taxed."""

from ledger.domain.author import Author
from ledger.domain.billing.tax_number import check_tax_number
from ledger.flows.reference.enter import enter_dated
from ledger.flows.reference.supersede import writing
from ledger.store.billing import tax
from ledger.store.queries import Connection
from ledger.wire.tax_inputs import NewTaxRate, NewTaxRegistration, NewTaxTreatment


async def enter_tax_rate(
    connection: Connection, new: NewTaxRate, author: Author, *, replace: bool = False
) -> int:
    """Record what a country takes; returns its row."""
    async with writing(connection):
        return await enter_dated(connection, tax.RATES, new, author, replace)


async def enter_tax_registration(
    connection: Connection, new: NewTaxRegistration, author: Author, *, replace: bool = False
) -> int:
    """Record where an entity pays tax; returns its row.

    InvalidInputError where the number is none of that country.
    """
    number = check_tax_number(new.tax_number, new.country)
    checked = new.model_copy(update={"tax_number": number})
    async with writing(connection):
        return await enter_dated(connection, tax.REGISTRATIONS, checked, author, replace)


async def enter_tax_treatment(
    connection: Connection, new: NewTaxTreatment, author: Author, *, replace: bool = False
) -> int:
    """Record how a customer is taxed; returns its row."""
    async with writing(connection):
        return await enter_dated(connection, tax.TREATMENTS, new, author, replace)
