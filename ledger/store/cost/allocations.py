"""What is allocated of windows: rows of scopes with the sums of their lines, and the lines of
usage beside them, many in a row, whose amounts are arrays."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import repeat
from typing import NamedTuple, Unpack

import asyncpg
import numpy as np
import polars as pl

from ledger.domain.apportion import units_of
from ledger.domain.cost.cause import USAGE
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
from ledger.domain.period import Period
from ledger.store.binary import Rows
from ledger.store.binary_arrays import arrays
from ledger.store.connect import CutOff
from ledger.store.copying import copy_binary
from ledger.store.queries import Connection, load_queries
from ledger.store.within import OfEntity

ALLOCATIONS = load_queries("cost/allocations")
AT_ONCE = 50_000
SUMS = tuple(name for name in SHARE if name != "usage_key_id")
STAMP = ("cut_off_id", "batch_seq", "entity_id")
COLUMNS = (*ALLOCATION, "lines", *SUMS, "digest", *STAMP)
_NARROW = tuple(name for name in SHARE if name not in COSTS)
# Costs are told in two numbers of 64 bits each.
_HIGH, _LOW = tuple(f"{name}_high" for name in COSTS), tuple(f"{name}_low" for name in COSTS)
ARRAYS = (*_NARROW, *_HIGH, *_LOW)
SHARE_COLUMNS = (
    *("entity_id", "window_start", "scope", "revision", *ARRAYS),
    *("batch_seq", "recalled_at"),
)
_KIND_COSTS = tuple(name for name, kind in KIND_SUMS.items() if kind == pl.Int128())
# What a query says that needs lines which were let go.
LinesLetGo = asyncpg.ObjectNotInPrerequisiteStateError
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
    counts = [len(row["usage_key_id"]) for row in stored]
    said = pl.DataFrame(
        {name: _flat([row[name] for row in stored], counts) for name in ARRAYS},
        dict.fromkeys(ARRAYS, pl.Int64),
    )
    at = np.repeat(np.arange(len(stored)), counts)
    lines = rows[at].hstack(said.with_columns(_whole(name) for name in COSTS))
    return Allocations(rows, lines.select(*LINE))


def _flat(runs: Iterable[Sequence[int] | None], counts: Iterable[int]) -> list[int]:
    """Arrays one after the other; in one that is not there nothing has anything."""
    pairs = zip(runs, counts, strict=True)
    return [number for run, count in pairs for number in (repeat(0, count) if run is None else run)]


def _whole(name: str) -> pl.Expr:
    """A cost of its two numbers."""
    high, low = (pl.col(f"{name}_{half}").cast(pl.Int128) for half in ("high", "low"))
    return (high * 10**16 + low).alias(name)


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
    stamp = {"entity_id": pl.lit(entity_id), "batch_seq": pl.lit(batch_seq, pl.Int64)}
    of_usage = allocations.rows.filter(line=USAGE).select(*_WHERE, "revision", **stamp)
    sums = [pl.DataFrame(schema=_SUMMED)]
    # Some windows at once: as arrays, and in groups, lines are there several times.
    for first, last in _few_lines(allocations):
        lines = allocations.lines.filter(pl.col("window_start").is_between(first, last))
        runs = lines_of_usage(lines.filter(line=USAGE)).runs
        await _append_shares(connection, of_usage, runs)
        sums.append(_summed(lines, runs))
    key = list(ALLOCATION_KEY)
    rows = allocations.rows.join(pl.concat(sums), on=key, how="left").with_columns(
        *(pl.col(name).fill_null(0) for name in ("lines", *SUMS)),
        cut_off_id=pl.lit(cut_off.cut_off_id, pl.Int64),
        **stamp,
    )
    await copy_binary(connection, "cost_allocation", Rows.of(rows.sort(key), COLUMNS))


def _few_lines(allocations: Allocations) -> Iterator[tuple[datetime, datetime]]:
    """The first and the last of windows that have AT_ONCE lines together, or a window more."""
    sizes = dict(allocations.lines["window_start"].value_counts().iter_rows())
    held: list[datetime] = []
    lines = 0
    for window in allocations.rows["window_start"].unique().sort():
        held.append(window)
        lines += sizes.get(window, 0)
        if lines >= AT_ONCE:
            yield held[0], held[-1]
            held, lines = [], 0
    if held:
        yield held[0], held[-1]


async def _append_shares(connection: Connection, rows: pl.DataFrame, runs: pl.DataFrame) -> None:
    """Store the lines of usage of some rows, where they have any."""
    shares = rows.join(runs, on=[*_WHERE])
    columns = [name for name in SHARE_COLUMNS if name in shares.columns]
    if not shares.is_empty():
        await copy_binary(connection, "cost_share", Rows.of(shares, columns))


def _summed(lines: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """How many lines there are of a kind, what these come to, and the digest of those of usage."""
    key = list(ALLOCATION_KEY)
    sums = lines.group_by(key).agg(pl.len().alias("lines"), *(pl.col(n).sum() for n in SUMS))
    digests = runs.select(*_WHERE, "digest", line=pl.lit(USAGE))
    summed = sums.join(digests, on=key, how="left")
    return summed.select(pl.col(name).cast(kind) for name, kind in _SUMMED.items())


class LinesOf(NamedTuple):
    """Lines of usage, in order, and those of each scope and window as arrays with a digest."""

    lines: pl.DataFrame
    runs: pl.DataFrame

    @property
    def digests(self) -> dict[ScopeWindow, bytes]:
        """The SHA-256 of lines, by scope and window."""
        keys = self.runs.select(*_WHERE).iter_rows()
        return dict(zip(keys, self.runs["digest"].to_list(), strict=True))

    def only(self, of: Collection[ScopeWindow]) -> pl.DataFrame:
        """The lines of some scopes and windows, in their order."""
        named = pl.DataFrame([*of], _WHERE, orient="row")
        return self.lines.join(named, on=[*_WHERE], how="semi", maintain_order="left")


_WHERE = {"scope": LINE["scope"], "window_start": LINE["window_start"]}
_SUMMED = {
    **ALLOCATION_KEY,
    "lines": pl.Int32(),
    **{name: SHARE[name] for name in SUMS},
    "digest": pl.Binary(),
}


def lines_of_usage(lines: pl.DataFrame) -> LinesOf:
    """Lines of usage by scope and window."""
    ordered = lines.sort(LINE_KEY)
    runs = ordered.group_by([*_WHERE], maintain_order=True).len("counts")
    columns, counts = _halved(ordered), runs["counts"]
    said = [arrays(column, counts) for column in columns]
    told = zip(*(column.to_list() for column in said), strict=True)
    digest = pl.Series("digest", [sha256(b"".join(row)).digest() for row in told], pl.Binary)
    stored = (
        each.zip_with(_have_any(column, counts), each.clear(len(each)))
        for each, column in zip(said, columns, strict=True)
    )
    return LinesOf(ordered, runs.select(*_WHERE).hstack([*stored, digest]))


def _halved(lines: pl.DataFrame) -> list[pl.Series]:
    """The columns of ARRAYS, of 64 bits each."""
    high = [lines[name] // _HALF for name in COSTS]
    low = [lines[name] - above * _HALF for name, above in zip(COSTS, high, strict=True)]
    narrow = (lines[name] for name in _NARROW)
    columns = zip(ARRAYS, (*narrow, *high, *low), strict=True)
    return [each.cast(pl.Int64).alias(name) for name, each in columns]


def _have_any(column: pl.Series, counts: pl.Series) -> pl.Series:
    """Which of so many of a column, one after the other, have anything but 0."""
    ends = np.cumsum(counts.to_numpy(), dtype=np.int64)
    before = np.concatenate([[0], np.cumsum(column.to_numpy() != 0)])
    return pl.Series(before[ends] > before[ends - counts.to_numpy()])


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
        entity_id=pl.lit(entity_id), recalled_at=pl.lit(recalled_at, LINE["window_start"])
    )
    await _append_shares(connection, rows, again.runs)


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
