"""Reads what meters and engine counters said, and what was made of the meters."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, Unpack

import polars as pl

from ledger.domain.energy.counter_course import AROUND, NEAR, EnergyReading
from ledger.domain.energy.even_course import ReadingColumns
from ledger.domain.metering.engine_counter import CounterSample
from ledger.store.binary import EPOCH_US
from ledger.store.binary_read import INT4, read_arrays
from ledger.store.copying import copy_out
from ledger.store.metering.readings import lend, lending, rows_with
from ledger.store.queries import Connection, Rows, load_queries
from ledger.store.values import values_of
from ledger.store.within import Within

METER = load_queries("energy/meter")
_READING_ARRAYS = ("at_us", "energy_mj", "power_mw", "monotonic_us", "stream")


@dataclass(frozen=True, slots=True)
class GpuReading:
    """A counter of a GPU as it was read, `monotonic_us` after the boot it names."""

    gpu_uuid: str
    epoch: str
    sampled_at: datetime
    energy_mj: int
    power_mw: int | None
    method: str
    quality: str
    boot_id: str | None
    driver_load: str | None
    monotonic_us: int | None
    source: str


class GpuWindow(NamedTuple):
    """Energy of a GPU in a window, as it stood at a cut-off."""

    gpu_uuid: str
    window_start: datetime
    revision: int
    metered_mj: int
    estimated_mj: int
    covered_s: int
    findings: tuple[str, ...]


async def find_readings(
    connection: Connection,
    *,
    gpu_uuids: Sequence[str],
    **within: Unpack[Within],
) -> list[GpuReading]:
    """Readings in [since, until) and each GPU's neighbours of it, by GPU and time."""
    return values_of(GpuReading, await _readings(connection, "find_readings", gpu_uuids, within))


async def find_energy_readings(
    connection: Connection,
    *,
    gpu_uuids: Sequence[str],
    **within: Unpack[Within],
) -> dict[str, list[EnergyReading]]:
    """What `find_readings` finds, as readings of each GPU in the order of their times."""
    rows = await _readings(connection, "find_readings", gpu_uuids, within)
    readings: dict[str, list[EnergyReading]] = defaultdict(list)
    for row in rows:
        readings[row["gpu_uuid"]].append(
            EnergyReading(
                row["sampled_at"],
                row["epoch"],
                row["energy_mj"],
                row["quality"],
                row["power_mw"],
                row["source"],
                boot_id=row["boot_id"],
                driver_load=row["driver_load"],
                monotonic_us=row["monotonic_us"],
            )
        )
    return readings


async def read_columns_of(
    connection: Connection, *, gpu_uuids: Sequence[str], **within: Unpack[Within]
) -> ReadingColumns:
    """What `find_readings` finds, as columns; a board is numbered by its place among `gpu_uuids`,
    from 1."""
    lent = await _lend_readings(connection, gpu_uuids, within)
    query = lending(METER["copy_readings"], "gpu_reading", lent)
    octets = await copy_out(connection, query, gpu_uuids=list(gpu_uuids), **within, lent=lent)
    read = read_arrays(octets, {"board": INT4}, _READING_ARRAYS)
    at_us, stream = read["at_us"] + EPOCH_US, read["stream"]
    bits = {"good": stream & 1, "module": stream >> 1 & 1}
    return ReadingColumns(**read | {"at_us": at_us, "stream": stream & ~3} | bits)


async def _lend_readings(
    connection: Connection, gpu_uuids: Sequence[str], within: Within
) -> str | None:
    wanted = pl.col("gpu_uuid").is_in(list(gpu_uuids))
    return await lend(connection, "gpu_reading", wanted, "gpu_uuid", **within)


async def _readings(
    connection: Connection,
    query: str,
    gpu_uuids: Sequence[str],
    within: Within,
) -> Rows:
    lent = await _lend_readings(connection, gpu_uuids, within)
    asked = {"gpu_uuids": list(gpu_uuids), **within}
    return await rows_with(connection, METER[query], "gpu_reading", lent, **asked)


async def find_touched_readings(
    connection: Connection, *, since_seq: int, batch_seq: int
) -> list[tuple[str, datetime, datetime]]:
    """(GPU, from, to) of every span whose energy readings stored after `since_seq` may change.

    Readings may decide what others mean that lie up to `NEAR` before or after them, and up to
    `AROUND` where the counter falls.
    """
    rows = await METER["find_touched_readings"].rows(
        connection, since_seq=since_seq, batch_seq=batch_seq
    )
    reach = {False: NEAR, True: AROUND}
    return [
        (
            row["gpu_uuid"],
            row["first_at"] - reach[row["falls"]],
            row["last_at"] + reach[row["falls"]],
        )
        for row in rows
    ]


async def find_metered_periods(
    connection: Connection, *, batch_seq: int, stored_since: date = date.min
) -> dict[str, tuple[datetime, datetime]]:
    """(first, last) reading of each GPU, of those stored on `stored_since` or later."""
    rows = await METER["find_metered_periods"].rows(
        connection, stored_since=stored_since, batch_seq=batch_seq
    )
    return {row["gpu_uuid"]: (row["first_at"], row["last_at"]) for row in rows}


async def find_metered_gpus(
    connection: Connection, *, since: datetime, until: datetime, batch_seq: int
) -> list[str]:
    """GPUs whose readings bracket or fall into [since, until)."""
    metered = await find_metered_periods(connection, batch_seq=batch_seq)
    return metered_between(metered, since=since, until=until)


def metered_between(
    periods: Mapping[str, tuple[datetime, datetime]], *, since: datetime, until: datetime
) -> list[str]:
    """Those of `find_metered_periods` whose readings bracket or fall into [since, until)."""
    return [gpu for gpu, (first, last) in periods.items() if first < until and last >= since]


async def find_meter_windows(
    connection: Connection,
    *,
    gpu_uuids: Sequence[str],
    **within: Unpack[Within],
) -> list[GpuWindow]:
    """Energy of GPUs per window as it stood at a cut-off, with its revision."""
    return await METER["find_meter_windows"].values(
        connection,
        GpuWindow,
        gpu_uuids=list(gpu_uuids),
        **within,
    )


async def find_engine_counters(
    connection: Connection,
    *,
    engine_instance: str,
    metrics: Sequence[str],
    **within: Unpack[Within],
) -> list[CounterSample]:
    """These counters of one engine in [since, until], each series with the one before."""
    wanted = (pl.col("engine_instance") == engine_instance) & pl.col("metric").is_in(list(metrics))
    lent = await lend(connection, "counter_reading", wanted, "metric", **within)
    asked = {"engine_instance": engine_instance, "metrics": list(metrics), **within}
    query = METER["find_engine_counters"]
    rows = await rows_with(connection, query, "counter_reading", lent, **asked)
    return _samples(rows)


async def list_counters(
    connection: Connection,
    *,
    engine_instances: Sequence[str],
    metrics: Sequence[str],
    **within: Unpack[Within],
) -> dict[str, list[CounterSample]]:
    """These counters of some engines in [since, until], by instance in the order of their times."""
    if not engine_instances:
        return {}
    asked = {"engine_instances": list(engine_instances), "metrics": list(metrics)}
    wanted = pl.col("engine_instance").is_in(asked["engine_instances"])
    wanted &= pl.col("metric").is_in(asked["metrics"])
    lent = await lend(connection, "counter_reading", wanted, "metric", **within)
    query = METER["list_counters"]
    rows = await rows_with(connection, query, "counter_reading", lent, **asked, **within)
    return {name: list(of) for name, of in groupby(_samples(rows), attrgetter("instance"))}


async def find_touched_counters(
    connection: Connection, *, metrics: Sequence[str], since_seq: int, batch_seq: int
) -> list[datetime]:
    """Windows in which engines were scraped whose counters were stored after `since_seq`."""
    rows = await METER["find_touched_counters"].rows(
        connection, metrics=list(metrics), since_seq=since_seq, batch_seq=batch_seq
    )
    return [row["window_start"] for row in rows]


def _samples(rows: Rows) -> list[CounterSample]:
    return [
        CounterSample(
            instance=row["engine_instance"],
            metric=row["metric"],
            labels=tuple(sorted(row["labels"].items())),
            run_id=row["run_id"],
            run_started_at=row["run_started_at"],
            scraped_at=row["scraped_at"],
            value=row["value"],
            inexact=row["precision_loss"],
        )
        for row in rows
    ]


async def list_engine_instances(connection: Connection, **within: Unpack[Within]) -> list[str]:
    """Engine instances that were scraped in [since, until)."""
    everything = pl.lit(value=True)
    lent = await lend(connection, "counter_reading", everything, "engine_instance", **within)
    query = METER["list_engine_instances"]
    rows = await rows_with(connection, query, "counter_reading", lent, **within)
    return [row["engine_instance"] for row in rows]
