"""The faults of a seed, one after the other while workers read: each returns what it saw wrong."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from tests.torture.archives import damage_archive, fill_archive
from tests.torture.clocks import step_clock
from tests.torture.commands import kill_archive, kill_fold, kill_merge
from tests.torture.cut_offs import AWAY, hold_open
from tests.torture.freeze import AS_COLUMNS, COPIED, freeze_in_copy
from tests.torture.gates import gate_at, gate_in_commit
from tests.torture.restores import restore_books
from tests.torture.scene import Met, Scene
from tests.torture.spools import damage_spool, fill_spool
from tests.torture.workers import PREFIX


async def kill_any_time(scene: Scene) -> list[str]:
    """A worker dies wherever it happens to be."""
    scene.release()
    await asyncio.sleep(scene.draw.random())
    scene.note(scene.workers.running, "anywhere")
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
    """A worker dies as it writes rows, by a COPY or all of a small batch at once, or a chunk."""
    return await _kill_at(scene, _table_of(scene), "")


async def kill_sums(scene: Scene) -> list[str]:
    """Whoever sums windows, a worker or who draws a cut-off, is ended between two statements."""
    if not scene.workers.columns:
        return await kill_in_copy(scene)
    table, statement = scene.draw.choice(SUMMING)
    async with gate_at(scene.database.superuser_url, table) as gate:
        scene.release()
        held = await gate.meet("", statement)
        scene.note(held, f"sums ended before their write of {table}")
        if held is not None:
            await gate.watcher.execute("SELECT pg_terminate_backend($1, 5000)", held.pid)
    return []


def _table_of(scene: Scene) -> str:
    """A table that the next batch writes into."""
    table = scene.draw.choice(COPIED)
    return AS_COLUMNS.get(table, table) if scene.workers.columns else table


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
    """PostgreSQL ends in the middle of a batch, by the seed as in a power cut, and starts again."""
    table, pause = _table_of(scene), scene.draw.random()
    immediate = scene.draw.random() < 0.6
    how = "power cut" if immediate else "shutdown"
    try:
        with suppress(*AWAY):
            async with gate_at(scene.database.superuser_url, table) as gate:
                scene.release()
                scene.hit(await gate.meet(PREFIX), f"{how} in a write of {table}")
                await asyncio.to_thread(scene.server.stop, immediate=immediate)
        await asyncio.sleep(pause)
    finally:
        await asyncio.to_thread(scene.server.start)
    return []


async def stop_broker(scene: Scene) -> list[str]:
    """The broker dies, or is shut down, while records are sent and read, and comes back."""
    kills, pause = scene.draw.random() < 0.7, scene.draw.random()
    scene.release()
    await scene.until_sent(scene.due - scene.draw.randrange(2, 12))
    scene.note(scene.sent < scene.due, "killed" if kills else "shut down")
    await asyncio.to_thread(scene.broker.kill if kills else scene.broker.stop)
    await asyncio.sleep(pause)
    await asyncio.to_thread(scene.broker.start)
    return []


async def rebalance(scene: Scene) -> list[str]:
    """Workers come and go, up to three at once."""
    while len(scene.workers.running) < 3:
        scene.workers.start()
    scene.note(await scene.joined(), "three workers share the partitions")
    scene.release()
    await asyncio.sleep(scene.draw.random())
    await asyncio.to_thread(scene.workers.stop, scene.any_worker())
    return []


async def open_batch(scene: Scene) -> list[str]:
    """Somebody holds a batch open; cut-offs are drawn and workers go on."""
    before = await scene.stored()
    scene.release()
    seconds = 0.5 + scene.draw.random()
    url = scene.database.worker_url
    wrong, went_on = await hold_open(url, seconds, lambda: scene.stored_more_than(before))
    scene.note(went_on, "others went on")
    return wrong


# The first need days that are over: such a seed has a past, which the second has corrected as well.
# The last needs a batch that is large.
KILL_ARCHIVE, DAMAGE_ARCHIVE = "kill archive", "damage archive"
FILL_ARCHIVE, FREEZE = "fill archive", "freeze in copy"
Fault = Callable[[Scene], Awaitable[list[str]]]
FAULTS: Mapping[str, Fault] = {
    "kill": kill_any_time,
    "kill in commit": kill_in_commit,
    "kill in copy": kill_in_copy,
    "kill before position": kill_before_position,
    "kill sums": kill_sums,
    FREEZE: freeze_in_copy,
    "stop database": stop_database,
    "stop broker": stop_broker,
    "rebalance": rebalance,
    "open batch": open_batch,
    "kill fold": kill_fold,
    "kill merge": kill_merge,
    KILL_ARCHIVE: kill_archive,
    FILL_ARCHIVE: fill_archive,
    DAMAGE_ARCHIVE: damage_archive,
    "fill spool": fill_spool,
    "damage spool": damage_spool,
    "step clock": step_clock,
    "restore": restore_books,
}
# What a step of sums writes, in its order.
SUMMING = (
    ("usage_delta", "COPY"),
    ("activity", "COPY"),
    ("activity_mask", "COPY"),
    ("pending_sum", "DELETE"),
)
ARCHIVES = frozenset({KILL_ARCHIVE, FILL_ARCHIVE, DAMAGE_ARCHIVE})
# A freeze lasts longer than a session, a broker takes seconds to come back; of an archive there
# is one.
SELDOM = (FREEZE, "stop broker", "restore", *sorted(ARCHIVES))


def faults_of(draw: random.Random) -> list[str]:
    """Two or three faults of a seed; of the slow ones one at most."""
    often = [name for name in FAULTS if name not in SELDOM]
    chosen = [draw.choice(often) for _ in range(draw.choice([1, 2]))]
    chosen.append(draw.choice(SELDOM) if draw.random() < 0.7 else draw.choice(often))
    draw.shuffle(chosen)
    return chosen


async def inflict(name: str, nth: int, scene: Scene) -> tuple[Met, list[str]]:
    """The nth fault of a seed; what the database cannot answer meanwhile is no finding."""
    # Drawn apart, so that what became of one fault changes nothing about the next.
    scene.draw, scene.met = random.Random(f"fault {scene.seed} {nth}"), []
    wrong: list[str] = []
    try:
        wrong = await FAULTS[name](scene)
    except AWAY as error:
        scene.note(None, repr(error))
    return Met(name, tuple(scene.met)), wrong
