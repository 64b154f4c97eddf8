"""What an entry of a bank pays: found by the number of a document in its text, or by name and sum.

Invariant: what is found is of one customer, and what is not found for sure is left to a person.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from hashlib import sha256

from ledger.domain.billing.receivable import OpenItem
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import EXACT, plain, total
from ledger.wire.bank_inputs import NewBankEntry
from ledger.wire.camt import CamtStatement

_GAP = r"[\W_]*"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+=~-]{0,99}", re.ASCII)
DIGITS_MIN, DIGITS_MAX = 6, 12


@dataclass(frozen=True, slots=True)
class BankEntry:
    """An entry of one of an entity's accounts; `amount` is above zero where money came."""

    entry_id: str
    entity_id: str
    account: str
    bank_reference: str
    booked_on: date
    currency: str
    amount: Decimal
    payer: str
    payer_account: str
    reference: str

    @property
    def payment_id(self) -> str:
        """Under which its payment is recorded: the bank's own reference, where it is plain, and no
        other entry has it."""
        return self.bank_reference if _PLAIN.fullmatch(self.bank_reference) else self.entry_id


@dataclass(frozen=True, slots=True)
class NamedDocument:
    """An invoice, with what is open of it, or a credit note, by its number."""

    number: str
    customer_id: str
    currency: str
    open: Decimal
    is_credit: bool


@dataclass(frozen=True, slots=True)
class Match:
    """Whose an entry is: what of it pays which invoice (none: the oldest), or is paid back."""

    customer_id: str
    kind: str
    parts: Sequence[tuple[str, Decimal]]


@dataclass(frozen=True, slots=True)
class Unmatched:
    """Why nobody can tell whose an entry is."""

    reason: str


@dataclass(frozen=True, slots=True)
class HeldAgainst:
    """What may be meant by an entry: documents by number; customers of the payer's name, and what
    is open of them where there is one."""

    documents: Mapping[str, NamedDocument]
    customers: Sequence[str]
    open_items: Sequence[OpenItem]


def name_entries(entity_id: str, entries: Iterable[NewBankEntry]) -> list[BankEntry]:
    """Each with an id that it has in every file: of the bank's reference with day and amount, as
    some banks give one to several; without one of all that it says.

    Of entries without one that say the same the first, second … of a file are told apart.
    """
    seen: Counter[tuple[object, ...]] = Counter()
    named = []
    for entry in entries:
        said = entry.model_dump()
        booked = (entry.booked_on, entry.currency, plain(entry.amount))
        key: tuple[object, ...] = (entity_id, entry.account, entry.bank_reference, *booked)
        if not entry.bank_reference:
            key = (*key, *(str(value) for value in said.values()))
            seen[key] += 1
            key = (*key, seen[key])
        named.append(BankEntry(_digest(key), entity_id, **said))
    return named


def _digest(parts: Iterable[object]) -> str:
    return sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32]


def find_numbers(text: str, prefix: str) -> list[str]:
    """Numbers under a prefix that a text may name, however it is spaced; the longest first.

    >>> find_numbers("inv fa 2026/000 017, 5 pieces", "FA")[-1]
    'FA-2026-000017'
    """
    letters = [char for char in prefix.upper() if char.isalnum()]
    start = rf"(?<![0-9A-Z]){_GAP.join(map(re.escape, letters))}{_GAP}(C?){_GAP}(\d{{4}})"
    numbers = []
    upper = text.upper()
    for match in re.finditer(start, upper, re.ASCII):
        series = "C-" if match[1] else ""
        digits = "".join(_digits(upper[match.end() :]))
        numbers += [
            f"{prefix}-{series}{match[2]}-{digits[:length]}"
            for length in range(len(digits), DIGITS_MIN - 1, -1)
        ]
    return numbers


def _digits(text: str) -> Iterator[str]:
    taken = 0
    for char in text:
        if char.isascii() and char.isdigit() and taken < DIGITS_MAX:
            taken += 1
            yield char
        elif char.isalnum() or taken == DIGITS_MAX:
            return


def match_entry(entry: BankEntry, held: HeldAgainst) -> Match | Unmatched:
    """Whose an entry is, and what it pays; documents in the order in which it names them."""
    named = list(held.documents.values())
    if entry.amount < 0:
        return _given_back(entry, named)
    invoices = [each for each in named if not each.is_credit]
    if not invoices:
        return _by_name(entry, held)
    if len({each.customer_id for each in invoices}) > 1:
        return Unmatched("it names invoices of several customers")
    if any(each.currency != entry.currency for each in invoices):
        return Unmatched(f"{invoices[0].number} is not in {entry.currency}")
    return Match(invoices[0].customer_id, "received", _shared(entry.amount, invoices))


def _shared(amount: Decimal, invoices: Sequence[NamedDocument]) -> list[tuple[str, Decimal]]:
    """What of an amount pays each; the last open one has the rest, which may be beyond it."""
    owing = [each for each in invoices if each.open > 0]
    if not owing:
        return [("", amount)]
    parts, rest = [], amount
    for number, each in enumerate(owing, start=1):
        part = rest if number == len(owing) else min(rest, each.open)
        if part > 0:
            parts.append((each.number, part))
            rest = EXACT.subtract(rest, part)
    return parts


def _given_back(entry: BankEntry, named: Sequence[NamedDocument]) -> Match | Unmatched:
    customers = {each.customer_id for each in named if each.is_credit}
    if len(customers) != 1:
        return Unmatched("it went out, and names no credit note")
    return Match(customers.pop(), "refunded", [("", EXACT.minus(entry.amount))])


def _by_name(entry: BankEntry, held: HeldAgainst) -> Match | Unmatched:
    """A payer of one customer's name who pays exactly what one invoice of theirs asks for."""
    wanted = entry.currency, entry.amount
    exact = [item for item in held.open_items if (item.currency, item.open) == wanted]
    if len(held.customers) == 1 and len(exact) == 1:
        return Match(held.customers[0], "received", [(exact[0].number, entry.amount)])
    return Unmatched("it names no invoice")


def name_key(name: str) -> str:
    """A name as it is compared: without case, signs and blanks."""
    return "".join(char for char in name.casefold() if char.isalnum())


def check_sums(statement: CamtStatement) -> None:
    """InvalidInputError where what was booked does not lead from one balance to the other."""
    if statement.opening is None or statement.closing is None:
        return
    try:
        start, end = _signed(statement.opening), _signed(statement.closing)
        booked = total([_signed(each) for each in statement.sums])
    except ArithmeticError:
        raise InvalidInputError(
            f"The statement {statement.statement_id} has a sum that is no number.",
            "Fetch it from the bank again.",
        ) from None
    if EXACT.add(start, booked) != end:
        raise InvalidInputError(
            f"The statement {statement.statement_id} begins with {plain(start)}, books"
            f" {plain(booked)} and ends with {plain(end)}: something is missing.",
            "Fetch it from the bank again.",
        )


def _signed(amount: tuple[str, bool]) -> Decimal:
    value = EXACT.create_decimal(amount[0])
    return value if amount[1] else EXACT.minus(value)
