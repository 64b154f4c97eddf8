"""Rows of slow facts as the store gives them: what they say, and from when to when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from ledger.store.queries import Connection, Query

_DATES = ("row_id", "valid_from", "valid_to")


@dataclass(frozen=True, slots=True)
class DatedRow:
    """One open row, valid in [valid_from, valid_to); `valid_to` None has no end."""

    row_id: int
    valid_from: datetime
    valid_to: datetime | None
    values: Mapping[str, Any]


def dated_row(row: asyncpg.Record) -> DatedRow:
    """A row of a query that names row_id, valid_from and valid_to."""
    values = {name: value for name, value in row.items() if name not in _DATES}
    return DatedRow(row["row_id"], row["valid_from"], row["valid_to"], values)


@dataclass(frozen=True, slots=True)
class DatedTable:
    """The three queries of a table whose rows are superseded, never changed; `keys` name a row."""

    noun: str
    keys: tuple[str, ...]
    _find: Query
    _supersede: Query
    _insert: Query

    async def find_open(
        self,
        connection: Connection,
        values: Mapping[str, object],
        *,
        valid_from: datetime,
        valid_to: datetime | None,
    ) -> list[DatedRow]:
        """Open rows of the same keys that overlap [valid_from, valid_to), locked."""
        keys = {key: values[key] for key in self.keys}
        rows = await self._find.rows(connection, **keys, valid_from=valid_from, valid_to=valid_to)
        return [dated_row(row) for row in rows]

    async def supersede(
        self,
        connection: Connection,
        *,
        row_ids: Sequence[int],
        valid_from: datetime,
        valid_to: datetime | None,
        batch_seq: int,
    ) -> list[int]:
        """Close rows for [valid_from, valid_to); returns the rows so entered, where they count."""
        rows = await self._supersede.rows(
            connection,
            row_ids=row_ids,
            valid_from=valid_from,
            valid_to=valid_to,
            batch_seq=batch_seq,
        )
        return [row[0] for row in rows]

    async def insert(self, connection: Connection, **values: Any) -> int:
        """Store a row, with its validity and `batch_seq`; returns it."""
        return int(await self._insert.value(connection, **values))
