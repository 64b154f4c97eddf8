"""A record of Kafka that is refused whole and not kept in full is named by where it stands."""

from dataclasses import replace

import pytest

from ledger.domain.errors import ConflictError
from ledger.domain.metering.lines import ITEMS_MAX
from ledger.domain.metering.record import Record
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.replay import replay_quarantine
from ledger.store.queries import Connection
from tests.support.usage import NOW, Gate, attempt, keyed, open_books, sequenced

BODY_BYTES_MAX = 512 * 1024
AT = "(in Kafka: events/3/17)"
TOO_LARGE = Record(b'"' + b"x" * BODY_BYTES_MAX + b'"')
TOO_MANY = Record(b"1\n" * (ITEMS_MAX + 1))
MISCOUNTED = replace(sequenced([attempt()]), body=sequenced([attempt()] * 2).body)
HEADLESS = Record(b"{}", refusal="tl-source: found no tl-epoch beside it")


@pytest.mark.parametrize("record", [TOO_LARGE, TOO_MANY, MISCOUNTED, HEADLESS])
async def test_it_is_listed_with_its_place_and_cannot_be_replayed(
    worker: Connection, record: Record
) -> None:
    await open_books(worker)
    limits = IngestLimits(body_bytes_max=BODY_BYTES_MAX)
    gate, placed = Gate(worker, limits), replace(record, transport="kafka", position="events/3/17")
    found = await gate.outcomes(placed, keyed(attempt("beside")))
    assert set(found) == {"rejected", "created"}
    assert found.count("created") == 1
    (row,) = await worker.fetch("SELECT quarantine_id, detail FROM quarantine")
    assert row["detail"].endswith(AT)
    with pytest.raises(ConflictError, match="fetch it from where its detail says"):
        await replay_quarantine(
            worker,
            [row["quarantine_id"]],
            directory=DirectoryCache(),
            now=NOW,
            limits=limits,
        )


async def test_what_came_by_http_names_no_place(worker: Connection) -> None:
    await open_books(worker)
    await Gate(worker).send(MISCOUNTED)
    assert "Kafka" not in await worker.fetchval("SELECT detail FROM quarantine")
