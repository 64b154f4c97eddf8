"""What is refused is counted, kept up to a bound, and leaves the alarm when somebody says why."""

import pytest

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ledger.domain.metering.record import Record
from ledger.domain.metering.refusals import KEPT_OF_BODY
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.replay import dismiss_quarantine, replay_quarantine
from ledger.store.connect import draw_cut_off
from ledger.store.operations import count_quarantined, list_quarantine, sum_receipts_to_cut_off
from ledger.store.queries import Connection
from tests.support.usage import NOW, Gate, attempt, fates, keyed, open_books

AUTHOR = Author("cli:ann", "a test of our own", "r1")
BAD = 5_000


async def test_of_thousands_refused_in_a_body_some_are_kept_and_all_counted(
    worker: Connection,
) -> None:
    await open_books(worker)
    body = b"\n".join([keyed(attempt("good")).body.strip(), *[b"{}"] * BAD])
    (found,) = await Gate(worker).send(Record(body))
    assert (found.tally[0], found.received) == (1, BAD + 1)
    assert await fates(worker) == {"received": BAD + 1, "counted": 1, "quarantined": BAD}
    rows = await list_quarantine(worker, rows=10_000)
    assert len(rows) == KEPT_OF_BODY + 1
    assert (rows[0].reason, rows[0].items) == ("more_refused", BAD - KEPT_OF_BODY)
    assert await count_quarantined(worker) == BAD
    # What stands for many cannot be tried again, and may be dismissed like the others.
    ids = [row.quarantine_id for row in rows]
    with pytest.raises(ConflictError):
        await replay(worker, ids[0])
    assert await dismiss_quarantine(worker, ids[:1], AUTHOR, now=NOW) == 1
    assert await count_quarantined(worker) == KEPT_OF_BODY
    # Summed up to a cut-off it is the same.
    await draw_cut_off(worker, "test")
    await sum_receipts_to_cut_off(worker)
    assert await count_quarantined(worker) == KEPT_OF_BODY


async def test_who_dismisses_says_why_and_nothing_is_dismissed_or_replayed_twice(
    worker: Connection,
) -> None:
    await open_books(worker)
    await Gate(worker).send(Record(b"{nothing"), Record(b"{more"))
    first, second = [row.quarantine_id for row in await list_quarantine(worker, rows=9)]
    with pytest.raises(InvalidInputError):
        await dismiss_quarantine(worker, [first], Author("a", " ", "r"), now=NOW)
    with pytest.raises(NotFoundError):
        await dismiss_quarantine(worker, [first, 99], AUTHOR, now=NOW)
    assert await dismiss_quarantine(worker, [first], AUTHOR, now=NOW) == 1
    assert await dismiss_quarantine(worker, [first], AUTHOR, now=NOW) == 0
    assert [row.quarantine_id for row in await list_quarantine(worker, rows=9)] == [second]
    assert await count_quarantined(worker) == 1
    kept = await worker.fetchrow("SELECT actor, reason FROM quarantine_dismissal")
    assert kept is not None
    assert tuple(kept) == ("cli:ann", "a test of our own")
    with pytest.raises(ConflictError, match="dismissed"):
        await replay(worker, first)


async def test_one_that_is_hopeless_stops_no_other_when_all_are_replayed(
    worker: Connection,
) -> None:
    await open_books(worker)
    await Gate(worker).send(Record(b"{nothing"), Record(b"{}", refusal="tl-count: missing"))
    ids = [row.quarantine_id for row in await list_quarantine(worker, rows=9)]
    done = await replay_quarantine(
        worker, ids, directory=DirectoryCache(), now=NOW, limits=IngestLimits(), leave_hopeless=True
    )
    assert [one.outcome for one in done.values()] == ["rejected"]


async def replay(worker: Connection, quarantine_id: int) -> None:
    await replay_quarantine(
        worker, [quarantine_id], directory=DirectoryCache(), now=NOW, limits=IngestLimits()
    )
