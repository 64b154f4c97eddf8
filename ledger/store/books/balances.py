"""Balances of accounts: carried for stretches of the journal, and read without the rest of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby

from ledger.domain.books.carried import JournalStretch
from ledger.domain.entity import LegalEntity
from ledger.domain.period import FAR
from ledger.store.queries import Connection, load_queries

BALANCES = load_queries("books/balances")


@dataclass(frozen=True, slots=True)
class Balance:
    """What stood on an account in one currency before a period and by its end: debit positive."""

    account: str
    name: str
    type: str
    currency: str
    opening: Decimal
    closing: Decimal


@dataclass(frozen=True, slots=True)
class CarriedStretch(JournalStretch):
    """A stretch whose balances are carried, and in which currencies they are."""

    currencies: Sequence[str]


async def list_journal_entities(
    connection: Connection, *, entity_id: str | None
) -> list[LegalEntity]:
    """Entities that have booked something, all or one of them."""
    return await BALANCES["list_journal_entities"].values(
        connection, LegalEntity, entity_id=entity_id
    )


async def find_chain(
    connection: Connection, *, entity_id: str, batch_seq: int
) -> list[CarriedStretch]:
    """The fewest stretches that reach from the first entry as far as any below a cut-off."""
    return await BALANCES["find_chain"].values(
        connection, CarriedStretch, entity_id=entity_id, batch_seq=batch_seq
    )


async def count_entries(
    connection: Connection, *, entity_id: str, since_seq: int, batch_seq: int
) -> list[tuple[int, int]]:
    """(batch_seq, entries) of each batch of (since_seq, batch_seq] that booked, in order."""
    rows = await BALANCES["count_entries"].rows(
        connection, entity_id=entity_id, since_seq=since_seq, batch_seq=batch_seq
    )
    return [(row["batch_seq"], row["entries"]) for row in rows]


async def carry(connection: Connection, entity_id: str, stretches: Sequence[JournalStretch]) -> int:
    """Store stretches with their balances, those that others are made of first; returns how many
    balances there are."""
    carried = 0
    ordered = sorted(stretches, key=lambda each: (each.level, each.until_seq))
    for level, alike in groupby(ordered, key=lambda each: each.level):
        some = list(alike)
        asked: dict[str, object] = {
            "entity_id": entity_id,
            "since_seqs": [each.since_seq for each in some],
            "until_seqs": [each.until_seq for each in some],
        }
        if level == 0:
            carried += await BALANCES["insert_first_stretches"].run(connection, **asked)
        else:
            carried += await BALANCES["insert_stretches"].run(connection, **asked, level=level)
    return carried


async def find_balances(
    connection: Connection, *, entity_id: str, since: datetime, until: datetime, batch_seq: int
) -> list[Balance]:
    """Every account of an entity as known at a cut-off, by what is booked for before `since` and
    for before `until`; those that nothing was booked on are left out."""
    chain = await find_chain(connection, entity_id=entity_id, batch_seq=batch_seq)
    return await BALANCES["find_balances"].values(
        connection,
        Balance,
        entity_id=entity_id,
        since=since,
        until=until,
        batch_seq=batch_seq,
        levels=[each.level for each in chain],
        until_seqs=[each.until_seq for each in chain],
        currencies=sorted({name for each in chain for name in each.currencies}),
        carried_seq=chain[-1].until_seq if chain else 0,
    )


async def sum_accounts(connection: Connection, *, entity_id: str, batch_seq: int) -> list[Balance]:
    """Every account of an entity at a cut-off, whenever its entries are booked for."""
    return await find_balances(
        connection, entity_id=entity_id, since=FAR, until=FAR, batch_seq=batch_seq
    )
