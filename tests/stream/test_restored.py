"""Older books beside a newer topic: what came after the backup is read again, once."""

from collections.abc import Callable
from pathlib import Path

from ledger.flows.backup import back_up
from ledger.flows.metering.check import check_windows
from ledger.flows.restore import restore
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.flows.test_backup import quiet
from tests.stream.test_consumer import batches, produce, running, settings_for, until_received
from tests.support.database import Database
from tests.support.usage import NOW, attempt, fates, keyed, open_books, windows


async def test_an_older_dump_beside_a_newer_topic_is_made_whole(
    worker: Connection,
    database: Database,
    elsewhere: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
    tmp_path: Path,
) -> None:
    await open_books(worker)
    topic = kafka_topic()
    before, after = [*batches(4), keyed(attempt("a"))], [*batches(7)[4:], keyed(attempt("b"))]
    produce(kafka_bootstrap, topic, before)
    async with running(settings_for(database, kafka_bootstrap, topic)):
        await until_received(worker, 21)
        owner = await connect(database.owner_url)
        await back_up(
            owner,
            url=database.owner_url,
            folder=tmp_path / "backup",
            settings={},
            now=NOW,
            progress=quiet,
        )
        await owner.close()
        produce(kafka_bootstrap, topic, after)
        await until_received(worker, 37)
    owner = await connect(elsewhere.owner_url)
    await restore(
        owner,
        url=elsewhere.owner_url,
        folder=tmp_path / "backup",
        archive=None,
        progress=quiet,
    )
    await owner.close()
    again = await connect(elsewhere.worker_url)
    try:
        assert await fates(again) == {"received": 21, "counted": 21}
        async with running(settings_for(elsewhere, kafka_bootstrap, topic)):
            await until_received(again, 37)
        assert await fates(again) == await fates(worker) == {"received": 37, "counted": 37}
        assert await windows(again) == await windows(worker)
        assert (await check_windows([again])).differing == 0
    finally:
        await again.close()
