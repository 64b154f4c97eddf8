"""What is allocated of windows: rows of scopes with the sums of their lines, and the lines of
usage beside them, many in a row, whose amounts are arrays."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import chain
from typing import NamedTuple, Unpack

import asyncpg
import numpy as np
import polars as pl

from ledger.domain.apportion import units_of
from ledger.domain.cost.cost_line import (
    ALLOCATION,
    ALLOCATION_KEY,
    LINE,
    LINE_KEY,
    SHARE,
    Allocations,
)
from ledger.domain.cost.kinds import KIND_SUMS
from ledger.domain.cost.lines_again import AllocatedLines, ScopeWindow
from ledger.domain.cost.share import COSTS
from ledger.domain.cost.taken import USAGE
from ledger.domain.period import Period
from ledger.store.binary import Rows
from ledger.store.binary_arrays import arrays
from ledger.store.connect import CutOff
from ledger.store.copying import copy_binary
from ledger.store.queries import Connection, load_queries
from ledger.store.within import OfEntity

ALLOCATIONS = load_queries("cost/allocations")
SUMS = tuple(name for name in SHARE if name != "usage_key_id")
STAMP = ("cut_off_id", "batch_seq", "entity_id")
COLUMNS = (*ALLOCATION, "lines", *SUMS, "digest", *STAMP)
SHARE_COLUMNS = (
    *("entity_id", "window_start", "scope", "revision", *SHARE),
    *("batch_seq", "recalled_at"),
)
_KIND_COSTS = tuple(name for name, kind in KIND_SUMS.items() if kind == pl.Int128())
# What a query says that needs lines which were let go.
LinesLetGo = asyncpg.ObjectNotInPrerequisiteStateError
# Costs are told in two numbers of 64 bits each.
_HALF = pl.Series([10**16], dtype=pl.Int128)


async def find_allocations(
    connection: Connection,
    *,
    entity_id: str,
    windows: Sequence[datetime],
    scopes: Sequence[str] | None,
) -> Allocations:
    """What is allocated of an entity's windows as it stands, of all scopes or some; lines that were
    let go have to be made again before."""
    stored = await ALLOCATIONS["find_allocations"].rows(
        connection, entity_id=entity_id, windows=list(windows), scopes=scopes
    )
    values = {name: [row[name] for row in stored] for name in ALLOCATION}
    values |= {name: [units_of(amount) for amount in values[name]] for name in _KIND_COSTS}
    rows = pl.DataFrame(values, ALLOCATION)
    said = {name: list(chain.from_iterable(row[name] for row in stored)) for name in SHARE}
    said |= {name: [units_of(amount) for amount in said[name]] for name in COSTS}
    at = np.repeat(np.arange(len(stored)), [len(row["usage_key_id"]) for row in stored])
    lines = rows[at].hstack(pl.DataFrame(said, SHARE))
    return Allocations(rows, lines.select(*LINE))


def digests(lines: pl.DataFrame, counts: Sequence[int]) -> list[bytes]:
    """The SHA-256 of so many lines one after the other: of their keys, energies and costs, these in
    two numbers each, as arrays that PostgreSQL sends."""
    high = [lines[name] // _HALF for name in COSTS]
    low = [lines[name] - above * _HALF for name, above in zip(COSTS, high, strict=True)]
    narrow = [lines[name] for name in SHARE if name not in COSTS]
    runs = pl.Series(counts, dtype=pl.Int64)
    columns = [arrays(each.cast(pl.Int64), runs) for each in (*narrow, *high, *low)]
    return [sha256(b"".join(row)).digest() for row in zip(*columns, strict=True)]


async def append_allocations(
    connection: Connection,
    allocations: Allocations,
    *,
    entity_id: str,
    cut_off: CutOff,
    batch_seq: int,
) -> None:
    """Store what is allocated otherwise from now on."""
    if allocations.rows.is_empty():
        return
    lines = allocations.lines.sort(LINE_KEY)
    rows = _summed(allocations.rows, lines).with_columns(
        cut_off_id=pl.lit(cut_off.cut_off_id, pl.Int64), entity_id=pl.lit(entity_id)
    )
    sent = Rows.of(rows, COLUMNS)
    sent.number(batch_seq)
    await copy_binary(connection, "cost_allocation", sent)
    of_usage = rows.filter(pl.col("digest").is_not_null())
    numbered = of_usage.with_columns(batch_seq=pl.lit(batch_seq, pl.Int64))
    await append_shares(connection, numbered, lines.filter(line=USAGE))


async def append_shares(connection: Connection, rows: pl.DataFrame, lines: pl.DataFrame) -> None:
    """Store the lines of usage of some rows, sorted alike: `lines` says how many each has."""
    if rows.is_empty():
        return
    shares = rows.with_columns(arrays(lines[name], rows["lines"]) for name in SHARE)
    columns = [name for name in SHARE_COLUMNS if name in shares.columns]
    await copy_binary(connection, "cost_share", Rows.of(shares, columns))


def _summed(rows: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Rows, by their key, with how many lines they have and what these come to."""
    key = list(ALLOCATION_KEY)
    grouped = lines.group_by(key, maintain_order=True)
    sums = grouped.agg(pl.len().cast(pl.Int32).alias("lines"), *(pl.col(n).sum() for n in SUMS))
    digest = pl.Series("digest", digests(lines, sums["lines"].to_list()), dtype=pl.Binary)
    there = sums.with_columns(digest)
    joined = rows.join(there, on=key, how="left", maintain_order="left")
    digest_of_usage = pl.when(pl.col("line") == USAGE).then("digest")
    return joined.with_columns(
        *(pl.col(name).fill_null(0) for name in ("lines", *SUMS)), digest=digest_of_usage
    ).sort(key)


class LinesOf(NamedTuple):
    """Lines of usage of scopes and windows, in order: how many each has, with their digests."""

    lines: pl.DataFrame
    counts: Mapping[ScopeWindow, int]
    digests: Mapping[ScopeWindow, bytes]

    def only(self, of: Collection[ScopeWindow]) -> pl.DataFrame:
        """The lines of some scopes and windows, in their order."""
        named = pl.DataFrame([*of], _WHERE, orient="row")
        return self.lines.join(named, on=[*_WHERE], how="semi", maintain_order="left")


_WHERE = {"scope": LINE["scope"], "window_start": LINE["window_start"]}


def lines_of_usage(lines: pl.DataFrame) -> LinesOf:
    """Lines of usage by scope and window."""
    ordered = lines.sort(LINE_KEY)
    groups = ordered.group_by([*_WHERE], maintain_order=True).len()
    keys = list(groups.select(*_WHERE).iter_rows())
    counts = groups["len"].to_list()
    made = digests(ordered, counts)
    return LinesOf(
        ordered, dict(zip(keys, counts, strict=True)), dict(zip(keys, made, strict=True))
    )


async def find_allocated(
    connection: Connection,
    entity_id: str,
    periods: Sequence[Period],
    batch_seq: int,
    *,
    gone: bool = False,
) -> list[AllocatedLines]:
    """Which lines of usage stand at a cut-off in windows of some periods; `gone`, of those that
    were let go."""
    return await ALLOCATIONS["find_allocated"].values(
        connection,
        AllocatedLines,
        entity_id=entity_id,
        sinces=[period.start for period in periods],
        untils=[period.end for period in periods],
        batch_seq=batch_seq,
        gone=gone,
    )


async def find_parts_of_days(connection: Connection, **asked: Unpack[OfEntity]) -> list[Period]:
    """What of [since, until) is read window by window at a cut-off."""
    rows = await ALLOCATIONS["find_parts_of_days"].rows(connection, **asked)
    return [Period(row["since"], row["until"]) for row in rows]


async def keep_recalled(
    connection: Connection, entity_id: str, same: Sequence[AllocatedLines], again: LinesOf
) -> None:
    """Store lines that were made again, beside those that are there."""
    ordered = sorted(same, key=lambda each: each.key)
    recalled_at = await ALLOCATIONS["find_present"].value(connection)
    rows = pl.DataFrame([each[:4] for each in ordered], _RECALLED, orient="row").with_columns(
        entity_id=pl.lit(entity_id),
        lines=pl.Series([again.counts[each.key] for each in ordered], dtype=pl.Int32),
        recalled_at=pl.lit(recalled_at, LINE["window_start"]),
    )
    await append_shares(connection, rows, again.only([each.key for each in ordered]))


_RECALLED = {**_WHERE, "revision": ALLOCATION["revision"], "batch_seq": pl.Int64()}


class DayOf(NamedTuple):
    """A local day of an entity."""

    entity_id: str
    day_start: datetime
    day_end: datetime

    @property
    def period(self) -> Period:
        """From its start to its end."""
        return Period(self.day_start, self.day_end)


async def list_thin_days(connection: Connection) -> list[DayOf]:
    """Days of all entities of whose windows lines were let go."""
    return await ALLOCATIONS["list_thin_days"].values(connection, DayOf)


class ThinDay(NamedTuple):
    """A local day whose lines may go, as far as they were stored up to a batch."""

    day_start: datetime
    day_end: datetime
    booked_seq: int

    @property
    def period(self) -> Period:
        """From its start to its end."""
        return Period(self.day_start, self.day_end)


async def find_days_to_thin(connection: Connection, *, entity_id: str) -> list[ThinDay]:
    """Days that are added up and booked, with lines that nobody asked for just now."""
    return await ALLOCATIONS["find_days_to_thin"].values(connection, ThinDay, entity_id=entity_id)


async def let_lines_go(connection: Connection, *, entity_id: str, day: ThinDay) -> int:
    """Let lines of a day go; of how many scopes and windows."""
    return await ALLOCATIONS["let_lines_go"].run(
        connection,
        entity_id=entity_id,
        since=day.day_start,
        until=day.day_end,
        batch_seq=day.booked_seq,
    )
