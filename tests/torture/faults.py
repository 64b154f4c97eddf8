"""The faults of a seed, one after the other while workers read: each returns what it saw wrong."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from tests.torture.commands import kill_archive, kill_fold
from tests.torture.cut_offs import AWAY, hold_open
from tests.torture.freeze import COPIED, freeze_in_copy
from tests.torture.gates import gate_at, gate_in_commit
from tests.torture.scene import MISSED, Scene
from tests.torture.workers import PREFIX


async def kill_any_time(scene: Scene) -> list[str]:
    """A worker dies wherever it happens to be."""
    scene.release()
    await asyncio.sleep(scene.draw.random())
    scene.workers.kill(scene.any_worker())
    scene.workers.start()
    return []


async def kill_in_commit(scene: Scene) -> list[str]:
    """A worker dies inside a COMMIT, and PostgreSQL, by the seed, ends it one way or the other."""
    stands = scene.draw.random() < 0.5
    async with gate_in_commit(scene.database.superuser_url) as gate:
        scene.release()
        held = await gate.meet(PREFIX, "COMMIT")
        end = "which stands" if stands else "which is undone"
        scene.workers.kill(scene.hit(held, f"in COMMIT, {end}"))
        if held is not None and not stands:
            await gate.watcher.execute("SELECT pg_terminate_backend($1, 5000)", held.pid)
    scene.workers.start()
    return []


async def kill_in_copy(scene: Scene) -> list[str]:
    """A worker dies inside a COPY."""
    return await _kill_at(scene, scene.draw.choice(COPIED), "COPY")


async def kill_before_position(scene: Scene) -> list[str]:
    """A worker dies when all is written but the position."""
    return await _kill_at(scene, "kafka_position", "")


async def _kill_at(scene: Scene, table: str, statement: str) -> list[str]:
    async with gate_at(scene.database.superuser_url, table) as gate:
        scene.release()
        held = await gate.meet(PREFIX, statement)
        scene.workers.kill(scene.hit(held, f"in {statement or 'a write'} of {table}"))
    scene.workers.start()
    return []


async def stop_database(scene: Scene) -> list[str]:
    """PostgreSQL ends as in a power cut in the middle of a batch, and recovers."""
    table = scene.draw.choice(COPIED)
    pause = scene.draw.random()
    try:
        with suppress(*AWAY):
            async with gate_at(scene.database.superuser_url, table) as gate:
                scene.release()
                scene.hit(await gate.meet(PREFIX), f"power cut in a write of {table}")
                await asyncio.to_thread(scene.server.stop, immediate=True)
        await asyncio.sleep(pause)
    finally:
        await asyncio.to_thread(scene.server.start)
    return []


async def stop_broker(scene: Scene) -> list[str]:
    """The broker dies and comes back."""
    scene.release()
    await asyncio.sleep(scene.draw.random() / 5)
    await asyncio.to_thread(scene.broker.kill)
    await asyncio.sleep(scene.draw.random())
    await asyncio.to_thread(scene.broker.start)
    return []


async def rebalance(scene: Scene) -> list[str]:
    """Workers come and go, up to three at once."""
    while len(scene.workers.running) < 3:
        scene.workers.start()
    scene.met.append("three workers" if await scene.joined() else f"{MISSED} three workers")
    scene.release()
    await asyncio.sleep(scene.draw.random())
    await asyncio.to_thread(scene.workers.stop, scene.any_worker())
    return []


async def open_batch(scene: Scene) -> list[str]:
    """Somebody holds a batch open; cut-offs and workers go on."""
    before = await scene.stored()
    scene.release()
    wrong = await hold_open(scene.database.worker_url, 1 + scene.draw.random())
    more = await scene.stored() - before
    scene.met.append("others went on" if more > 0 else f"{MISSED} others going on")
    return wrong


# The first needs days that are over: such a seed has a past. The other needs a batch that is large.
ARCHIVE, FREEZE = "kill archive", "freeze in copy"
Fault = Callable[[Scene], Awaitable[list[str]]]
FAULTS: Mapping[str, Fault] = {
    "kill": kill_any_time,
    "kill in commit": kill_in_commit,
    "kill in copy": kill_in_copy,
    "kill before position": kill_before_position,
    FREEZE: freeze_in_copy,
    "stop database": stop_database,
    "stop broker": stop_broker,
    "rebalance": rebalance,
    "open batch": open_batch,
    "kill fold": kill_fold,
    ARCHIVE: kill_archive,
}
# A freeze lasts longer than a session, a broker takes seconds to come back.
SELDOM = (FREEZE, "stop broker", ARCHIVE)


def faults_of(draw: random.Random) -> list[str]:
    """Two or three faults of a seed; of the slow ones one at most."""
    often = [name for name in FAULTS if name not in SELDOM]
    chosen = [draw.choice(often) for _ in range(draw.choice([1, 2]))]
    chosen.append(draw.choice(SELDOM) if draw.random() < 0.4 else draw.choice(often))
    draw.shuffle(chosen)
    return chosen


async def inflict(name: str, scene: Scene) -> list[str]:
    """One fault; what the database cannot answer meanwhile is no finding."""
    try:
        return await FAULTS[name](scene)
    except AWAY as error:
        scene.met.append(f"{MISSED} {name}: {error!r}")
        return []
