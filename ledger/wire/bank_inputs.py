"""What a bank says of an account, and what a person says of what nobody could tell from that."""

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field

from ledger.wire.camt import CamtEntry, CamtStatement
from ledger.wire.errors import FieldError, InputError
from ledger.wire.input_fields import Amount, Currency, Day, Identifier, Text
from ledger.wire.inputs import InputModel, read_input

STATEMENT_BYTES_MAX = 16 * 1024 * 1024
ENTRIES_MAX = 50_000


def _something(value: Decimal) -> Decimal:
    if value == 0:
        raise FieldError("send an amount above 0 that came, below 0 that went")
    return value


def _account(text: str) -> str:
    bare = "".join(text.split()).upper()
    if not (bare and bare.isascii() and bare.isalnum()):
        raise FieldError("send an IBAN, or letters and digits")
    return bare


AccountNumber = Annotated[Text, AfterValidator(_account)]


class NewBankEntry(InputModel):
    """Money that came to (above 0) or went from an account, as its bank booked it.

    `bank_reference` is the bank's own and names it for ever, with day and amount; without one what
    it says does.
    """

    account: AccountNumber
    bank_reference: Text = ""
    booked_on: Day
    currency: Currency
    amount: Annotated[Amount, AfterValidator(_something)]
    payer: Text = ""
    payer_account: Text = ""
    reference: Text = ""


class BankEntryOwner(InputModel):
    """Whose an entry of a bank is: it pays the invoice that is named, then the oldest."""

    customer_id: Identifier
    invoice: Annotated[Text, Field(max_length=200)] = ""


def entries_of(statement: CamtStatement) -> list[NewBankEntry]:
    """The booked entries of a statement; FieldError names the first that cannot be read."""
    return [_entry(statement, *numbered) for numbered in enumerate(statement.entries, start=1)]


def _entry(statement: CamtStatement, number: int, entry: CamtEntry) -> NewBankEntry:
    try:
        return read_input(NewBankEntry, _said(statement, entry))
    except InputError as error:
        raise FieldError(f"mend entry {number} of {statement.statement_id}: {error}") from error


def _said(statement: CamtStatement, entry: CamtEntry) -> dict[str, str]:
    # A sign of its own would turn what the indicator says into its opposite.
    bare = entry.amount if entry.amount[:1].isdigit() else f"no amount: {entry.amount}"
    signed = bare if entry.credit else f"-{bare}"
    return {
        "account": statement.account,
        "bank_reference": entry.bank_reference,
        "booked_on": entry.booked_on,
        "currency": entry.currency or statement.currency,
        "amount": signed,
        "payer": entry.payer,
        "payer_account": entry.payer_account,
        "reference": entry.reference,
    }
