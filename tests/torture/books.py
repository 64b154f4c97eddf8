"""What the database says after a run, in the words of the model, and where the two differ."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import polars as pl

from ledger.flows.metering.check import check_windows
from ledger.store.connect import connect, sum_windows
from ledger.store.metering.archive_files import scan_archived
from ledger.store.metering.retention import list_archived
from ledger.store.operations import list_sequence_gaps
from ledger.store.queries import Connection
from tests.torture.model import WINDOW_S, Delivery, Identity, Truth, contents, work_out
from tests.torture.sending import KNOWN, SEQUENCED, Sent

FATES = ("counted", "duplicate", "conflict", "quarantined", "superseded", "suspense")
SHOWN = 3
METERS = ("requests", "uncached", "cache_read", "visible", "reasoning")
WORK = ("uncached", "cache_read", "output")


@dataclass(frozen=True)
class Compared:
    """Where the books are not what the model says, and how many contents they lack or have more
    than once."""

    wrong: list[str]
    lost: int
    doubled: int


async def differences(url: str, sent: Sequence[Sent], missing: set[tuple[str, int]]) -> list[str]:
    """Where the books are not what the model says; empty is what everybody hopes for."""
    return (await compare(url, [one.said for one in sent], missing)).wrong


async def compare(
    url: str, deliveries: Sequence[Delivery], missing: set[tuple[str, int]]
) -> Compared:
    """The books against the model, of all that was delivered."""
    connection = await connect(url)
    try:
        await sum_windows(connection)
        stored = await _stored(connection)
        first, wrong = _firsts(deliveries, stored)
        truth = work_out(deliveries, first, KNOWN)
        wrong += _differ("fate", truth.fates, await _fates(connection))
        wrong += _differ("fact", Counter(truth.stored), stored)
        wrong += _differ("usage", truth.usage, await _usage(connection))
        wrong += _differ("work", truth.work, await _work(connection))
        wrong += _busy(truth, await _masks(connection))
        wrong += _differ("gap", Counter(missing), await _gaps(connection))
        received = await connection.fetchval("SELECT sum(received) FROM receipt")
        items = sum(len(one.attempts) + one.bad for one in deliveries)
        wrong += [] if received == items else [f"received {received}, {items} were sent"]
        report = await check_windows([connection])
        wrong += [f"check: {one['table']}: {one}" for one in list(report.differences)[:SHOWN]]
    finally:
        await connection.close()
    lost = len(truth.stored - stored.keys())
    return Compared(wrong, lost, sum(n - 1 for n in stored.values() if n > 1))


async def receipts_of(url: str, sent: Sequence[Sent]) -> list[str]:
    """Kafka records that were not received once and whole; a partition holds them in order."""
    wanted: Counter[tuple[int, int, int]] = Counter()
    ends: Counter[int] = Counter()
    for one in sent:
        size = len(one.said.attempts) + one.said.bad
        wanted[one.partition, ends[one.partition], size] += 1
        ends[one.partition] += 1
    connection = await connect(url)
    try:
        rows = await connection.fetch(RECEIPTS)
        positions = await connection.fetch("SELECT partition, next_offset FROM kafka_position")
    finally:
        await connection.close()
    found = Counter(tuple(row) for row in rows)
    stands = {row["partition"]: row["next_offset"] for row in positions}
    return _differ("receipt", wanted, found) + _differ("position", ends, stands)


RECEIPTS = """
SELECT split_part(position, '/', 2)::int, split_part(position, '/', 3)::int, sum(received)::int
  FROM receipt WHERE transport = 'kafka' GROUP BY 1, 2, batch_seq
"""
CHUNKS = {
    "SELECT facts FROM usage_chunk WHERE facts IS NOT NULL": pl.read_ipc,
    "SELECT facts FROM merged_chunk": pl.read_parquet,
}


def _firsts(
    deliveries: Iterable[Delivery], stored: Mapping[int, int]
) -> tuple[dict[Identity, tuple[int, ...]], list[str]]:
    """Which content of each identity was stored; the order in which they came is the machine's."""
    first, wrong = {}, []
    for identity, variants in contents(deliveries).items():
        there = [said for said in variants if all(number in stored for number in said)]
        if len(there) != 1:
            wrong.append(f"{identity}: {len(there)} of {len(variants)} contents are stored")
        first[identity] = (there or variants)[0]
    return first, wrong[:SHOWN]


def _differ(what: str, wanted: Mapping[Any, int], found: Mapping[Any, int]) -> list[str]:
    names = {name for name in {*wanted, *found} if wanted.get(name, 0) != found.get(name, 0)}
    listed = sorted(names, key=str)
    shown = [f"{what} {n}: wanted {wanted.get(n, 0)}, found {found.get(n, 0)}" for n in listed]
    return shown[:SHOWN] + ([f"and {len(listed) - SHOWN} more of {what}"] if listed[SHOWN:] else [])


async def _stored(connection: Connection) -> Counter[int]:
    found: Counter[int] = Counter()
    async for facts in stored_facts(connection, ("kind", "uncached")):
        found.update(facts.filter(pl.col("kind").is_in([1, 3]))["uncached"].to_list())
    return found


async def stored_facts(
    connection: Connection, columns: Sequence[str]
) -> AsyncIterator[pl.DataFrame]:
    """Facts of rows, chunks and files, read by what they are and by nothing of ours."""
    rows = await connection.fetch(f"SELECT {', '.join(columns)} FROM usage_fact")
    yield pl.DataFrame([tuple(row) for row in rows], list(columns), orient="row")
    for query, read in CHUNKS.items():
        for row in await connection.fetch(query):
            yield read(BytesIO(row["facts"]), columns=list(columns))
    for part in await list_archived(connection):
        yield scan_archived(part).select(columns).collect()


async def _fates(connection: Connection) -> Counter[str]:
    sums = ", ".join(f"sum({fate}) AS {fate}" for fate in FATES)
    (row,) = await connection.fetch(f"SELECT {sums} FROM receipt")
    found = Counter({fate: int(row[fate] or 0) for fate in FATES})
    changes = "SELECT from_fate, to_fate, count(*) AS n FROM fate_change GROUP BY 1, 2"
    for change in await connection.fetch(changes):
        found[change["from_fate"]] -= change["n"]
        found[change["to_fate"]] += change["n"]
    return +found


def _window(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) // WINDOW_S


async def _usage(connection: Connection) -> Counter[tuple[object, ...]]:
    sums = ", ".join(f"sum({meter})::bigint AS {meter}" for meter in METERS)
    rows = await connection.fetch(
        f"SELECT k.customer_ref, k.project_id, k.model, k.tier, window_start, {sums}"
        " FROM usage_delta JOIN usage_key k USING (usage_key_id) GROUP BY 1, 2, 3, 4, 5"
    )
    found: Counter[tuple[object, ...]] = Counter()
    for row in rows:
        for meter in METERS:
            found[*tuple(row)[:4], _window(row["window_start"]), meter] += row[meter]
    return found


async def _work(connection: Connection) -> Counter[tuple[object, ...]]:
    sums = ", ".join(f"sum(a.{meter})::bigint AS {meter}" for meter in WORK)
    rows = await connection.fetch(
        "SELECT e.engine_instance, k.customer_ref, k.project_id, k.model, k.tier, window_start,"
        f" {sums} FROM activity_delta a JOIN usage_key k USING (usage_key_id)"
        " JOIN engine_key e USING (engine_key_id) GROUP BY 1, 2, 3, 4, 5, 6"
    )
    found: Counter[tuple[object, ...]] = Counter()
    for row in rows:
        for meter in WORK:
            found[*tuple(row)[:5], _window(row["window_start"]), meter] += row[meter]
    return found


async def _masks(connection: Connection) -> dict[tuple[str, int], set[int]]:
    rows = await connection.fetch(
        "SELECT e.engine_instance, m.window_start, bit_or(m.mask)::text AS mask"
        " FROM activity_mask m JOIN engine_key e USING (engine_key_id) GROUP BY 1, 2"
    )
    return {
        (row["engine_instance"], _window(row["window_start"])): {
            second for second, bit in enumerate(row["mask"]) if bit == "1"
        }
        for row in rows
    }


def _busy(truth: Truth, found: Mapping[tuple[str, int], set[int]]) -> list[str]:
    places = {*truth.busy, *found}
    wrong = [p for p in sorted(places) if truth.busy.get(p, set()) != found.get(p, set())]
    return [
        f"busy {p}: {len(truth.busy.get(p, set()) ^ found.get(p, set()))} seconds differ"
        for p in wrong[:SHOWN]
    ]


async def _gaps(connection: Connection) -> Counter[tuple[str, int]]:
    return Counter(
        (f"{row.producer}/{row.epoch}", number)
        for row in await list_sequence_gaps(connection)
        if row.source == SEQUENCED
        for number in range(row.first_missing, row.last_missing + 1)
    )
