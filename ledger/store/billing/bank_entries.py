"""What banks booked, what it is held against, and what became of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ledger.domain.billing.bank_entry import BankEntry, NamedDocument
from ledger.store.queries import Connection, load_queries

BANK = load_queries("billing/bank_entries")


@dataclass(frozen=True, slots=True)
class StoredEntry(BankEntry):
    """An entry, and whether it waits for somebody to say whose it is."""

    waits: bool


async def list_accounts(connection: Connection, entity_id: str) -> list[str]:
    """The accounts of an entity, without blanks."""
    rows = await BANK["list_accounts"].rows(connection, entity_id=entity_id)
    return [row["account"] for row in rows]


async def insert_entries(
    connection: Connection, entity_id: str, entries: Sequence[BankEntry], *, batch_seq: int
) -> set[str]:
    """Store those that are not known yet; their ids."""
    rows = await BANK["insert_entries"].rows(
        connection,
        entity_id=entity_id,
        entry_ids=[each.entry_id for each in entries],
        accounts=[each.account for each in entries],
        bank_references=[each.bank_reference for each in entries],
        booked_on=[each.booked_on for each in entries],
        currencies=[each.currency for each in entries],
        amounts=[each.amount for each in entries],
        payers=[each.payer for each in entries],
        payer_accounts=[each.payer_account for each in entries],
        said=[each.reference for each in entries],
        batch_seq=batch_seq,
    )
    return {row["entry_id"] for row in rows}


async def find_documents(
    connection: Connection, entity_id: str, numbers: Collection[str]
) -> Mapping[str, NamedDocument]:
    """Invoices and credit notes of these numbers, by number."""
    documents = await BANK["find_documents"].values(
        connection, NamedDocument, entity_id=entity_id, numbers=sorted(numbers)
    )
    return {each.number: each for each in documents}


async def list_customer_names(connection: Connection, entity_id: str) -> list[tuple[str, str]]:
    """(customer, name) of every name of an entity's customers."""
    rows = await BANK["list_customer_names"].rows(connection, entity_id=entity_id)
    return [(row["customer_id"], row["name"]) for row in rows]


async def insert_outcome(
    connection: Connection,
    entry_id: str,
    kind: str,
    *,
    batch_seq: int,
    payment_id: str | None = None,
    reason: str = "",
) -> None:
    """Keep what became of an entry."""
    await BANK["insert_outcome"].run(
        connection,
        entry_id=entry_id,
        kind=kind,
        payment_id=payment_id,
        reason=reason,
        batch_seq=batch_seq,
    )


async def find_entry(connection: Connection, entry_id: str) -> StoredEntry | None:
    """An entry by its id, or None."""
    return await BANK["find_entry"].first(connection, StoredEntry, entry_id=entry_id)


async def is_paid_as(connection: Connection, entry: BankEntry, payment_id: str) -> bool:
    """Whether another entry of the same entity is paid under this id."""
    return bool(
        await BANK["is_paid_as"].value(
            connection,
            payment_id=payment_id,
            entry_id=entry.entry_id,
            entity_id=entry.entity_id,
        )
    )
