"""One write by hand: a transaction, dated rows superseded in it, and who did it, why."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError
from ledger.flows.reference.closed_months import check_reach
from ledger.store.connect import draw_batch_seq
from ledger.store.dated import DatedRow, DatedTable
from ledger.store.parties import insert_manual_write
from ledger.store.queries import Connection
from ledger.store.refusals import explained
from ledger.wire.inputs import DatedInput
from ledger.wire.rfc3339 import format_rfc3339


@dataclass(frozen=True, slots=True)
class Written:
    """What a dated write did: its row, the rows it closed, and those that remain of them.

    `batch_seq` is None where exactly this was recorded already and nothing was written.
    """

    row_id: int
    batch_seq: int | None
    closed: Sequence[int] = ()
    remaining: Sequence[int] = ()


@asynccontextmanager
async def writing(connection: Connection) -> AsyncIterator[None]:
    """One transaction whose refusals by constraints are the ledger's own errors."""
    with explained():
        async with connection.transaction():
            yield


async def write_dated(
    connection: Connection,
    table: DatedTable,
    values: Mapping[str, object],
    *,
    valid: DatedInput,
    replace: bool,
) -> Written:
    """Add a row; what it overlaps is refused, or with `replace` superseded for that time."""
    since, until = valid.valid_from, valid.valid_to
    overlapping = await table.find_open(connection, values, valid_from=since, valid_to=until)
    if len(overlapping) == 1 and _says_the_same(overlapping[0], values, valid):
        return Written(overlapping[0].row_id, None)
    if overlapping and not replace:
        raise _overlap(table, values, overlapping[0])
    # Drawn after the rows were read and locked: a row is closed by a later number than opened it.
    batch_seq = await draw_batch_seq(connection)
    closed = [row.row_id for row in overlapping]
    remaining: list[int] = []
    if closed:
        remaining = await table.supersede(
            connection, row_ids=closed, valid_from=since, valid_to=until, batch_seq=batch_seq
        )
    row_id = await table.insert(
        connection, **values, valid_from=since, valid_to=until, batch_seq=batch_seq
    )
    return Written(row_id, batch_seq, closed, remaining)


async def keep_write(
    connection: Connection,
    author: Author,
    *,
    batch_seq: int,
    action: str,
    subject: str,
    detail: Mapping[str, object],
) -> None:
    """Keep who wrote this, why, and what they said; InvalidInputError where that holds in a closed
    month and they say no reason."""
    await check_reach(connection, author, detail)
    await insert_manual_write(
        connection,
        author,
        batch_seq=batch_seq,
        action=action,
        subject=subject,
        detail={name: _plain(value) for name, value in detail.items()},
    )


def describe_period(valid_from: datetime, valid_to: datetime | None) -> str:
    """A validity as people read it."""
    until = f"until {short_time(valid_to)}" if valid_to is not None else "on, without an end"
    return f"from {short_time(valid_from)} {until}"


def _says_the_same(row: DatedRow, values: Mapping[str, object], valid: DatedInput) -> bool:
    same_period = (row.valid_from, row.valid_to) == (valid.valid_from, valid.valid_to)
    return same_period and all(row.values[name] == value for name, value in values.items())


def _overlap(table: DatedTable, values: Mapping[str, object], row: DatedRow) -> ConflictError:
    name = " / ".join(str(values[key]) for key in table.keys if values[key] not in (None, ""))
    period = describe_period(row.valid_from, row.valid_to)
    differing = [
        f"{field} {_plain(row.values[field])}"
        for field in values
        if row.values[field] != values[field]
    ]
    said = f" with {', '.join(differing)}" if differing else ""
    return ConflictError(
        f"{table.noun} {name} is already recorded {period}{said} (row {row.row_id}).",
        "Choose a time that does not overlap, or replace it for that time.",
        "valid_from",
    )


def short_time(moment: datetime) -> str:
    """A time to the minute, as people read it in messages."""
    return format_rfc3339(moment).replace(":00.000000Z", "Z")


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return format_rfc3339(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
