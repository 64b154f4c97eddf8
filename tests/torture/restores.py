"""Books that are restored in the middle: elsewhere or in place, and then made whole again."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from ledger.embedded.postgres import EmbeddedServer
from ledger.flows.backup import back_up
from ledger.flows.restore import restore
from ledger.store.connect import connect
from ledger.store.roles import OWNER, grant_database
from tests.support.database import Database, execute, fresh_database
from tests.torture.scene import Scene


async def restore_books(scene: Scene) -> list[str]:
    """A backup, then more records, then a restore: senders and the topic have all that it lacks."""
    neighbours, mark = scene.neighbours, scene.neighbours.mark()
    drawn = scene.cut_offs.mark()
    folder = Path(f"{scene.folder}/{scene.workers.topic}-backup")
    before = await scene.stored()
    await _back_up(scene.database, folder)
    scene.release()
    lacks = await scene.stored_more_than(before)
    in_place = scene.draw.random() < 0.5
    for name in list(scene.workers.running):
        scene.workers.kill(name)
    await scene.cut_offs.stop()
    async with neighbours.silent():
        after = await scene.stored()
        if in_place:
            await _empty(scene.server, scene.database.name)
        else:
            scene.database = await asyncio.to_thread(_elsewhere, scene)
        await _restore(scene.database, folder, folder.with_name(f"{folder.name}-archive"))
        back = await scene.stored()
        scene.workers.worker_url = scene.database.worker_url
        await asyncio.to_thread(neighbours.begin_again, scene.database, mark)
    scene.cut_offs.begin(scene.database.worker_url, drawn)
    for _ in range(2):
        scene.workers.start()
    where = "in place" if in_place else "elsewhere"
    scene.note(lacks and after > back, f"{where}, {after - back} records newer than the backup")
    return []


def _elsewhere(scene: Scene) -> Database:
    return scene.stack.enter_context(fresh_database(scene.server, "template0"))


async def _empty(server: EmbeddedServer, name: str) -> None:
    superuser = server.url(database="postgres")
    await execute(superuser, f"DROP DATABASE {name} WITH (FORCE)")
    await execute(superuser, f"CREATE DATABASE {name} TEMPLATE template0 OWNER {OWNER}")
    await grant_database(superuser, name)


def _quiet(done: int, /) -> None:
    """Tell nobody."""


async def _back_up(database: Database, folder: Path) -> None:
    owner = await connect(database.owner_url)
    try:
        await back_up(
            owner,
            url=database.owner_url,
            folder=folder,
            settings={},
            now=datetime.now(UTC),
            progress=_quiet,
        )
    finally:
        await owner.close()


async def _restore(database: Database, folder: Path, archive: Path) -> None:
    owner = await connect(database.owner_url)
    try:
        await restore(
            owner, url=database.owner_url, folder=folder, archive=archive, progress=_quiet
        )
    finally:
        await owner.close()
