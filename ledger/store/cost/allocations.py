"""What is allocated of windows: rows of scopes with the sums of their lines, and the lines of
usage beside them, many in a row, whose amounts are arrays."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import repeat
from typing import NamedTuple, Unpack

import numpy as np
import polars as pl

from ledger.domain.apportion import units_of
from ledger.domain.cost.cause import USAGE
from ledger.domain.cost.cost_line import ALLOCATION, Allocations
from ledger.domain.cost.kinds import KIND_SUMS
from ledger.domain.cost.line_runs import ALLOCATION_KEY, RUN, SHARE, LineRuns
from ledger.domain.cost.lines_again import AllocatedLines
from ledger.domain.cost.share import COSTS
from ledger.domain.period import Period
from ledger.store.binary import Rows
from ledger.store.connect import CutOff
from ledger.store.copying import copy_binary
from ledger.store.cost.share_rows import ARRAYS, HALF, ShareRows, StoredAs
from ledger.store.queries import Connection, load_queries
from ledger.store.within import OfEntity

ALLOCATIONS = load_queries("cost/allocations")
SUMS = tuple(name for name in SHARE if name != "usage_key_id")
STAMP = ("cut_off_id", "batch_seq", "entity_id")
COLUMNS = (*ALLOCATION, "lines", *SUMS, "digest", *STAMP)
_KIND_COSTS = tuple(name for name, kind in KIND_SUMS.items() if kind == pl.Int128())


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
    lines = said.with_columns(_whole(name) for name in COSTS).select(*SHARE)
    return Allocations(rows, LineRuns(rows.select(*RUN), np.array(counts, np.int64), lines))


def _flat(runs: Iterable[Sequence[int] | None], counts: Iterable[int]) -> list[int]:
    """Arrays one after the other; in one that is not there nothing has anything."""
    pairs = zip(runs, counts, strict=True)
    return [number for run, count in pairs for number in (repeat(0, count) if run is None else run)]


def _whole(name: str) -> pl.Expr:
    """A cost of its two numbers."""
    high, low = (pl.col(f"{name}_{half}").cast(pl.Int128) for half in ("high", "low"))
    return (high * HALF + low).alias(name)


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
    key = list(ALLOCATION_KEY)
    usage = _usage(allocations)
    stored = {
        run: StoredAs(revision, batch_seq) for run, revision in usage["run", "revision"].rows()
    }
    shares = ShareRows(entity_id, allocations.lines, stored)
    if stored:
        await copy_binary(connection, "cost_share", shares)
    digests = usage.select(*key, digest=pl.Series(shares.digests, dtype=pl.Binary))
    summed = _summed(allocations.lines).join(digests, on=key, how="left")
    rows = allocations.rows.join(summed, on=key, how="left").with_columns(
        *(pl.col(name).fill_null(0) for name in ("lines", *SUMS)),
        cut_off_id=pl.lit(cut_off.cut_off_id, pl.Int64),
        entity_id=pl.lit(entity_id),
        batch_seq=pl.lit(batch_seq, pl.Int64),
    )
    await copy_binary(connection, "cost_allocation", Rows.of(rows.sort(key), COLUMNS))


def _usage(allocations: Allocations) -> pl.DataFrame:
    """Rows that have lines of usage, by the number of their run."""
    runs = allocations.lines.of.select(*ALLOCATION_KEY).with_row_index("run").filter(line=USAGE)
    rows = allocations.rows.select(*ALLOCATION_KEY, "revision")
    return runs.join(rows, on=list(ALLOCATION_KEY)).sort("window_start", "scope")


def _summed(lines: LineRuns) -> pl.DataFrame:
    """How many lines there are of a kind, and what these come to."""
    columns = lines.summable(SUMS)
    run = pl.Series("run", lines.numbers())
    sums = pl.DataFrame([run, *columns]).group_by("run").agg(pl.all().sum()).sort("run")
    told = lines.of.select(*ALLOCATION_KEY, lines=pl.Series(lines.counts)).filter(
        pl.col("lines") > 0
    )
    return told.hstack(sums.drop("run")).select(pl.col(n).cast(k) for n, k in _SUMMED.items())


_SUMMED = {**ALLOCATION_KEY, "lines": pl.Int32(), **{name: SHARE[name] for name in SUMS}}


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
    connection: Connection, entity_id: str, same: Sequence[AllocatedLines], again: LineRuns
) -> None:
    """Store lines that were made again, beside those that are there."""
    lines = lines_again(same, again)
    known = {each.key: StoredAs(each.revision, each.batch_seq) for each in same}
    keys = lines.of.select("scope", "window_start").iter_rows()
    stored = {run: known[key] for run, key in enumerate(keys)}
    recalled_at = await ALLOCATIONS["find_present"].value(connection)
    await copy_binary(connection, "cost_share", ShareRows(entity_id, lines, stored, recalled_at))


def lines_again(same: Sequence[AllocatedLines], again: LineRuns) -> LineRuns:
    """Of lines that were made again those of usage that are what they were."""
    named = [(*each.key, USAGE) for each in same]
    return again.only(pl.DataFrame(named, ALLOCATION_KEY, orient="row"))


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
