"""An original whose correction lies in a file that is away is put aside alone, in whatever company
it came."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from ledger.domain.metering.fact import Reason
from ledger.domain.metering.record import ItemOutcome
from ledger.flows.metering.archive import archive
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.replay import replay_quarantine
from ledger.store.queries import Connection
from tests.stream.test_consumer import produce, running, settings_for, until_received
from tests.support.database import Database
from tests.support.usage import (
    NOW,
    SOURCE,
    Gate,
    add_customer,
    attempt,
    bound_to,
    correction,
    fates,
    keyed,
    open_books,
    windows,
)

ORIGINAL = attempt("late", tokens=5, minute=1, customer_id="other")
LATER = NOW + timedelta(days=10)
DAY = NOW.date()


async def archive_correction(connection: Connection, folder: Path) -> Gate:
    """In a file: what acme said of an event that did not come yet, and is another's."""
    await open_books(connection)
    await add_customer(connection, "other")
    gate = Gate(connection)
    early = keyed(correction("fix", of="late", revision=1, tokens=7, minute=1))
    bound = replace(early, permission=bound_to([SOURCE], "acme"))
    assert await gate.outcomes(bound) == ["created"]
    await prepare_storage(connection, now=LATER)
    before = DAY + timedelta(days=1)
    done = await archive(connection, before=before, today=LATER.date(), folder=folder)
    assert [one.day.stored_day for one in done.archived] == [DAY]
    return gate


def used(found: Sequence[tuple[Any, ...]]) -> dict[str, int]:
    """Uncached input by customer, as windows add up."""
    whose = sorted((row[8], row[6]) for row in found)
    return {name: sum(n for _, n in rows) for name, rows in groupby(whose, itemgetter(0))}


async def replay(gate: Gate, quarantine_id: int) -> Iterable[ItemOutcome]:
    """What becomes of it now."""
    found = await replay_quarantine(
        gate.connection, [quarantine_id], directory=gate.directory, now=LATER, limits=gate.limits
    )
    return found.values()


async def test_an_original_whose_correction_is_away_is_put_aside_alone(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
    tmp_path: Path,
) -> None:
    gate = await archive_correction(worker, tmp_path)
    (path,) = (tmp_path / "usage_fact").rglob("*.parquet")
    away = path.rename(tmp_path / "elsewhere")
    topic = kafka_topic()
    async with running(settings_for(database, kafka_bootstrap, topic)):
        # The worker keeps bytes until it knows their source.
        produce(kafka_bootstrap, topic, [keyed(attempt("first"))])
        await until_received(worker, 2)
        beside = [keyed(attempt(f"e{n}"), attempt(f"f{n}")) for n in range(8)]
        with_it = keyed(attempt("a"), ORIGINAL, attempt("b"))
        produce(kafka_bootstrap, topic, [*beside, with_it])
        await until_received(worker, 21)
    assert await fates(worker) == {"received": 21, "counted": 20, "quarantined": 1}
    (aside,) = await worker.fetch("SELECT quarantine_id, reason, event_id FROM quarantine")
    assert (aside["reason"], aside["event_id"]) == (Reason.TARGET_AWAY, "late")
    assert used(await windows(worker)) == {"acme": 7 + 19 * 10}
    away.rename(path)
    (item,) = await replay(gate, aside["quarantine_id"])
    assert item.outcome == "created"
    assert used(await windows(worker)) == {"acme": 19 * 10, "other": 5}
