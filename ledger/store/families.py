"""Writes and reads whose child a customer is, and who is above whom."""

from collections.abc import Collection, Iterable
from datetime import datetime

from ledger.domain.billing.family import Above, ParentLink
from ledger.domain.period import FAR, Period
from ledger.store.dated import DatedTable
from ledger.store.parties import PARTIES
from ledger.store.queries import Connection

PARENTS = DatedTable(
    "parent",
    ("customer_id",),
    PARTIES["find_open_parents"],
    PARTIES["supersede_parents"],
    PARTIES["insert_parent"],
)


async def lock_families(connection: Connection, entity_id: str) -> None:
    """Keep others from changing families of an entity until the transaction ends."""
    await PARTIES["lock_families"].run(connection, entity_id=entity_id)


async def list_below(connection: Connection, customer_id: str) -> list[str]:
    """A customer and all who are below it at any time."""
    rows = await PARTIES["list_below"].rows(connection, customer_id=customer_id)
    return [row["customer_id"] for row in rows]


async def list_parent_links(connection: Connection, customers: Collection[str]) -> list[ParentLink]:
    """Whose children some customers, and all above them at any time, are."""
    rows = await PARTIES["list_parent_links"].rows(connection, customers=sorted(customers))
    return [
        ParentLink(row["customer_id"], row["parent_id"], _valid(row["valid_from"], row["valid_to"]))
        for row in rows
    ]


async def keep_above(
    connection: Connection, customers: Collection[str], above: Iterable[Above], *, batch_seq: int
) -> None:
    """Make who is above some customers what is given; what it was stays recorded."""
    rows = await PARTIES["list_open_above"].rows(connection, customers=sorted(customers))
    known = {
        Above(
            row["customer_id"],
            row["above_id"],
            row["pays"],
            _valid(row["valid_from"], row["valid_to"]),
        ): row["above_row_id"]
        for row in rows
    }
    now = set(above)
    gone = [row_id for each, row_id in known.items() if each not in now]
    await PARTIES["close_above"].run(connection, row_ids=gone, batch_seq=batch_seq)
    await PARTIES["insert_above"].run(
        connection,
        above=[_row(each) for each in sorted(now - known.keys())],
        batch_seq=batch_seq,
    )


def _valid(valid_from: datetime, valid_to: datetime | None) -> Period:
    return Period(valid_from, valid_to or FAR)


def _row(each: Above) -> dict[str, object]:
    until = None if each.valid.end == FAR else each.valid.end.isoformat()
    return {
        "customer_id": each.customer_id,
        "above_id": each.above_id,
        "pays": each.pays,
        "valid_from": each.valid.start.isoformat(),
        "valid_to": until,
    }
