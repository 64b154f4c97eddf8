"""A record that cannot be stored goes aside, and its partition goes on."""

from collections.abc import Callable

import pytest

from ledger.domain.metering.record import Record
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.replay import replay_quarantine
from ledger.store.metering.positions import Partition, PositionMove
from ledger.store.operations import count_dead_letters
from ledger.store.queries import Connection
from ledger.stream.isolation import Isolation
from tests.stream.test_consumer import produce, running, settings_for, until_received
from tests.support.database import Database, execute
from tests.support.usage import (
    NOW,
    Gate,
    attempt,
    fates,
    keyed,
    open_books,
    sequenced,
    windows,
    windows_of_facts,
)

POISON = "ALTER TABLE usage_key ADD CONSTRAINT poison CHECK (project_id <> 'poison') NOT VALID"
BAD = 37, 90


async def test_two_records_that_cannot_be_stored_hold_up_none_of_a_hundred(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
) -> None:
    await open_books(worker)
    await execute(database.superuser_url, POISON)
    topic = kafka_topic()
    sent = [
        sequenced([attempt(project_id="poison" if n in BAD else "fine")] * 3, sequence=n + 1)
        for n in range(100)
    ]
    # A NUL where no text may have one, in a record of its own and beside a good event.
    named = attempt("nul", tags={"a\0b": "x"})
    sent += [keyed(named), keyed(attempt("good"), named)]
    produce(kafka_bootstrap, topic, sent)
    async with running(settings_for(database, kafka_bootstrap, topic)):
        await until_received(worker, 98 * 3 + 2 + 3)
    assert await fates(worker) == {"received": 299, "counted": 295, "quarantined": 4}
    assert await count_dead_letters(worker) == len(BAD)
    assert await worker.fetchval("SELECT next_offset FROM kafka_position") == len(sent)
    assert await windows(worker) == await windows_of_facts(worker)
    await execute(database.superuser_url, "ALTER TABLE usage_key DROP CONSTRAINT poison")
    letters = await worker.fetch("SELECT quarantine_id FROM quarantine WHERE reason = 'unstorable'")
    replayed = await replay_quarantine(
        worker,
        [row["quarantine_id"] for row in letters],
        directory=DirectoryCache(),
        now=NOW,
        limits=IngestLimits(),
    )
    assert [one.outcome for one in replayed.values()] == ["created"] * 2
    # It has the place that it was sent with: sent again it is a duplicate.
    assert await Gate(worker).outcomes(*(sent[n] for n in BAD)) == ["duplicate"] * 6
    assert await count_dead_letters(worker) == 0


def move(expected: int, next_offset: int) -> PositionMove:
    """A step of partition 0."""
    return PositionMove(Partition("cluster", "topic", 0, "events"), expected, next_offset)


def test_what_fails_together_is_sent_in_less_until_one_fails_alone() -> None:
    isolation, tries, records, poison = Isolation(), 0, 10_000, 7_777
    start = 0
    while not isolation.failed:
        size = isolation.share(0, start) or records - start
        if start <= poison < start + size:
            tries += 1
            isolation.narrow([move(start, min(start + size, records))], size, ValueError("no"))
        else:
            start += size
    assert list(isolation.failed) == [(0, poison)]
    assert tries <= 6
    letter = isolation.judged(Record(b"x"), 0, poison)
    assert "ValueError: no" in letter.refusal
    with pytest.raises(ValueError, match="no"):
        isolation.narrow([move(poison, poison + 1)], 1, ValueError("no"))
    isolation.stored(0, poison + 1)
    assert not isolation.failed
