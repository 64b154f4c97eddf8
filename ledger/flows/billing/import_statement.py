"""Takes what a bank booked: each entry once, paying what it names; the rest waits for a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ledger.domain.author import Author
from ledger.domain.billing.bank_entry import (
    BankEntry,
    HeldAgainst,
    Match,
    NamedDocument,
    Unmatched,
    check_sums,
    find_numbers,
    match_entry,
    name_entries,
    name_key,
)
from ledger.domain.billing.receivable import OpenItem
from ledger.domain.errors import (
    ConflictError,
    InvalidInputError,
    LedgerError,
    MissingInputError,
    NotFoundError,
)
from ledger.flows.reference.enter_payment import enter_payment
from ledger.flows.reference.supersede import keep_write, writing
from ledger.store import parties
from ledger.store.billing import bank_entries as store
from ledger.store.billing.receivables import list_open_items, lock_receivables
from ledger.store.connect import draw_batch_seq
from ledger.store.queries import Connection
from ledger.wire.bank_inputs import (
    ENTRIES_MAX,
    STATEMENT_BYTES_MAX,
    BankEntryOwner,
    NewBankEntry,
    entries_of,
)
from ledger.wire.camt import read_camt
from ledger.wire.errors import FieldError
from ledger.wire.receivable_inputs import NewPayment


@dataclass(frozen=True, slots=True)
class BankOutcome:
    """What became of an entry: the payments recorded of it, or why it waits for a person."""

    entry_id: str
    amount: Decimal
    currency: str
    payer: str
    reference: str
    customer_id: str | None
    payments: Sequence[str]
    reason: str


@dataclass(frozen=True, slots=True)
class ImportedStatement:
    """How many entries were taken and how many were known; what became of those taken.

    `skipped` are those that the bank has not booked yet.
    """

    taken: int
    known: int
    skipped: int
    outcomes: Sequence[BankOutcome]


def read_statement(content: bytes) -> tuple[list[NewBankEntry], int]:
    """The booked entries of a CAMT.053 file, and how many are not booked yet; InvalidInputError."""
    if len(content) > STATEMENT_BYTES_MAX:
        raise InvalidInputError(
            f"The statement has more than {STATEMENT_BYTES_MAX // 2**20} MiB.", "Send it by day."
        )
    try:
        statements = read_camt(content)
        entries = [entry for each in statements for entry in entries_of(each)]
    except FieldError as error:
        raise InvalidInputError(
            f"The file is no statement of a bank: {error.action}.", "Fetch it from the bank again."
        ) from error
    for statement in statements:
        check_sums(statement)
    return entries, sum(each.skipped for each in statements)


async def import_statement(
    connection: Connection,
    *,
    entity_id: str,
    entries: Sequence[NewBankEntry],
    author: Author,
    skipped: int = 0,
) -> ImportedStatement:
    """Take the entries of an entity's accounts, in one transaction; those known write nothing.

    ConflictError names an account that is not the entity's; nothing is taken then.
    """
    async with writing(connection):
        prefix = await _check_accounts(connection, entity_id, entries)
        await lock_receivables(connection, entity_id)
        named = name_entries(entity_id, entries)
        batch_seq = await draw_batch_seq(connection)
        new = await store.insert_entries(connection, entity_id, named, batch_seq=batch_seq)
        customers = await _customers_by_name(connection, entity_id)
        outcomes = []
        for entry in named:
            if entry.entry_id in new:
                held = await _held_against(connection, entry, prefix, customers)
                matched = match_entry(entry, held)
                outcomes.append(await _settle(connection, entry, matched, author, batch_seq))
        if new:
            await keep_write(
                connection,
                author,
                batch_seq=batch_seq,
                action="import statement",
                subject=entity_id,
                detail={"taken": len(new), "known": len(named) - len(new)},
            )
    return ImportedStatement(len(new), len(named) - len(new), skipped, outcomes)


async def match_by_hand(
    connection: Connection, entry_id: str, owner: BankEntryOwner, author: Author
) -> BankOutcome:
    """Record whose an entry is that waits; NotFoundError, ConflictError, and what payments say."""
    async with writing(connection):
        entry = await _find_waiting(connection, entry_id)
        kind = "received" if entry.amount > 0 else "refunded"
        batch_seq = await draw_batch_seq(connection)
        parts = [(owner.invoice, abs(entry.amount))]
        return await _pay(
            connection, entry, Match(owner.customer_id, kind, parts), author, batch_seq
        )


async def dismiss_entry(connection: Connection, entry_id: str, author: Author) -> None:
    """Say that an entry that waits is nothing of customers; NotFoundError, ConflictError."""
    async with writing(connection):
        await _find_waiting(connection, entry_id)
        batch_seq = await draw_batch_seq(connection)
        await store.insert_outcome(
            connection, entry_id, "dismissed", reason=author.reason, batch_seq=batch_seq
        )
        await keep_write(
            connection,
            author,
            batch_seq=batch_seq,
            action="dismiss bank entry",
            subject=entry_id,
            detail={},
        )


async def _check_accounts(
    connection: Connection, entity_id: str, entries: Sequence[NewBankEntry]
) -> str:
    """The prefix of the entity's numbers, where every entry is of an account of its."""
    entity = await parties.find_entity(connection, entity_id)
    if entity is None:
        raise NotFoundError(f"There is no entity {entity_id}.", "List them to see their ids.")
    if len(entries) > ENTRIES_MAX:
        raise InvalidInputError(
            f"The statement has {len(entries)} entries, {ENTRIES_MAX} at most.", "Send it by day."
        )
    own = await store.list_accounts(connection, entity_id)
    if not own:
        raise MissingInputError(
            f"{entity_id} has said no account of its own.",
            f"tokenledger change entity {entity_id} --set payment_account=IBAN --from DAY",
        )
    for entry in entries:
        if entry.account not in own:
            raise ConflictError(
                f"The statement is of account {entry.account}, which is none of {entity_id}'s"
                f" ({', '.join(own)}).",
                "Name the entity whose account it is; nothing was taken.",
                "account",
            )
    return entity.invoice_prefix


async def _customers_by_name(connection: Connection, entity_id: str) -> Mapping[str, set[str]]:
    by_name: dict[str, set[str]] = {}
    for customer_id, name in await store.list_customer_names(connection, entity_id):
        by_name.setdefault(name_key(name), set()).add(customer_id)
    return by_name


async def _held_against(
    connection: Connection, entry: BankEntry, prefix: str, customers: Mapping[str, set[str]]
) -> HeldAgainst:
    documents: Mapping[str, NamedDocument] = {}
    numbers = list(dict.fromkeys(find_numbers(entry.reference, prefix)))
    if numbers:
        stored = await store.find_documents(connection, entry.entity_id, numbers)
        documents = {number: stored[number] for number in numbers if number in stored}
    named = sorted(customers.get(name_key(entry.payer), ())) if name_key(entry.payer) else []
    items: list[OpenItem] = []
    if len(named) == 1 and not documents:
        items = await list_open_items(
            connection, entity_id=entry.entity_id, customer_id=named[0], currency=entry.currency
        )
    return HeldAgainst(documents, named, items)


async def _settle(
    connection: Connection,
    entry: BankEntry,
    matched: Match | Unmatched,
    author: Author,
    batch_seq: int,
) -> BankOutcome:
    """Pay what an entry pays; what is refused about it is why it waits, and stops no other."""
    if isinstance(matched, Match):
        try:
            async with connection.transaction():
                return await _pay(connection, entry, matched, author, batch_seq)
        except LedgerError as error:
            matched = Unmatched(error.wrong)
    await store.insert_outcome(
        connection, entry.entry_id, "waiting", reason=matched.reason, batch_seq=batch_seq
    )
    return _outcome(entry, None, (), matched.reason)


async def _pay(
    connection: Connection, entry: BankEntry, matched: Match, author: Author, batch_seq: int
) -> BankOutcome:
    payments = []
    # A bank may give several entries one reference: the first that is paid has it.
    taken = await store.is_paid_as(connection, entry, entry.payment_id)
    paid_as = entry.entry_id if taken else entry.payment_id
    for number, (invoice, amount) in enumerate(matched.parts, start=1):
        payment_id = paid_as if number == 1 else f"{paid_as}~{number}"
        payment = NewPayment(
            entity_id=entry.entity_id,
            payment_id=payment_id,
            customer_id=matched.customer_id,
            kind="received" if matched.kind == "received" else "refunded",
            paid_on=entry.booked_on,
            currency=entry.currency,
            amount=amount,
            invoice=invoice,
            reference=entry.reference,
        )
        payments.append(await enter_payment(connection, payment, author))
        await store.insert_outcome(
            connection, entry.entry_id, "paid", payment_id=payment_id, batch_seq=batch_seq
        )
    return _outcome(entry, matched.customer_id, payments, "")


def _outcome(
    entry: BankEntry, customer_id: str | None, payments: Sequence[str], reason: str
) -> BankOutcome:
    return BankOutcome(
        entry_id=entry.entry_id,
        amount=entry.amount,
        currency=entry.currency,
        payer=entry.payer,
        reference=entry.reference,
        customer_id=customer_id,
        payments=payments,
        reason=reason,
    )


async def _find_waiting(connection: Connection, entry_id: str) -> BankEntry:
    stored = await store.find_entry(connection, entry_id)
    if stored is None:
        raise NotFoundError(
            f"There is no bank entry {entry_id}.", "See them: tokenledger list bank-entries."
        )
    await lock_receivables(connection, stored.entity_id)
    again = await store.find_entry(connection, entry_id)
    if again is None or not again.waits:
        raise ConflictError(
            f"Nobody waits for the bank entry {entry_id}.", "What was decided of it stays."
        )
    return again
