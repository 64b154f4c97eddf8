"""Reads attempts from the facts, wherever these lie, by engine instance and hour."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Unpack

import polars as pl

from ledger.domain.metering.attempts import COUNTS, added, by_hour
from ledger.domain.metering.reconcile import INPUT, OUTPUT, Attempts
from ledger.domain.metering.rows import moment
from ledger.domain.metering.times import micros
from ledger.store.metering.facts import Decode, FactSearch, list_fact_readers
from ledger.store.metering.ingest import find_engine_keys
from ledger.store.queries import Connection
from ledger.store.within import Within

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


async def sum_attempts(
    connection: Connection, **within: Unpack[Within]
) -> dict[tuple[str, datetime], Attempts]:
    """What events say by engine instance and hour in [since, until).

    Of facts stored since the day before: what came earlier did not happen in it.
    """
    since, until = within["since"], within["until"]
    search = FactSearch(
        within["batch_seq"], (since - DAY).astimezone(UTC).date(), since, until + HOUR
    )
    parts = []
    for read in await list_fact_readers(connection, search):
        decode = await read(connection)
        parts.append(await asyncio.to_thread(_by_hour, decode, since, until))
    if not parts:
        return {}
    sums = added(parts)
    engines = await find_engine_keys(connection, sums["engine_key_id"].unique().to_list())
    sums_by_hour: dict[tuple[str, datetime], list[int]] = defaultdict(lambda: [0] * len(COUNTS))
    for key, hour, *counts in sums.iter_rows():
        engine = engines.get(key)
        if engine is not None and engine.engine_instance:
            at = sums_by_hour[engine.engine_instance, moment(hour)]
            at[:] = [a + b for a, b in zip(at, counts, strict=True)]
    return {
        of: Attempts(
            requests=requests, unfinished=unfinished, over_edge={INPUT: read_in, OUTPUT: wrote}
        )
        for of, (requests, unfinished, read_in, wrote) in sums_by_hour.items()
    }


def _by_hour(decode: Decode, since: datetime, until: datetime) -> pl.DataFrame:
    return by_hour(decode(), since=micros(since), until=micros(until))
