"""A factory of one owned GPU, and counters to feed it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.store.queries import Connection
from tests.support.books import Books

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
LATER = datetime(2026, 3, 3, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
GPU = "GPU-a"


async def one_gpu(books: Books, *, hours: int = 1, instances: Sequence[str] = ()) -> None:
    """An owned GPU with a tariff of 100 EUR per MWh, PUE 1.2 and 50 W of host."""
    end = START + timedelta(hours=hours)
    await books.entity()
    await books.customer()
    await books.facility()
    await books.pue(START, end, pue="1.2", host_mw_per_gpu=50_000)
    await books.tariff([(START, end, "100")])
    await books.owned(START, end)
    await books.deployment(START, end, gpus=[GPU], instances=instances)


def at(second: int) -> datetime:
    """So many seconds after the start."""
    return START + timedelta(seconds=second)


def steady(
    seconds: Iterable[int], *, power_mw: int = 400_000, base_mj: int = 10_000_000
) -> list[tuple[datetime, int]]:
    """A counter that grows by a constant power, read at the named seconds."""
    return [(at(second), base_mj + second * power_mw) for second in seconds]


async def lines_of(connection: Connection, window_start: datetime) -> dict[str, dict[str, Any]]:
    """Cost lines of a window as they stand, by scope and line (usage: the last key)."""
    rows = await connection.fetch(
        """SELECT * FROM cost_lines_at(as_it_stands())
            WHERE window_start = $1 ORDER BY scope, line, usage_key_id""",
        window_start,
    )
    return {f"{row['scope']}/{row['line']}": dict(row) for row in rows}


async def meters_of(connection: Connection, gpu: str = GPU) -> list[dict[str, Any]]:
    """Meter windows of a GPU as they stand."""
    rows = await connection.fetch(
        """SELECT DISTINCT ON (window_start) * FROM meter_window WHERE gpu_uuid = $1
            ORDER BY window_start, revision DESC""",
        gpu,
    )
    return [dict(row) for row in rows]
