"""A worker that freezes as it writes a batch and past its session, while all others go on."""

import asyncio
import time

from ledger.store.connect import connect, draw_cut_off
from ledger.store.queries import Connection
from tests.torture.cut_offs import PAUSE_S, PURPOSE
from tests.torture.gates import Held, gate_at, waits_for_client
from tests.torture.scene import PATIENCE_S, Scene
from tests.torture.workers import PREFIX, SESSION_MS

# Every batch of usage is written into these, in this order, or by one statement where it is small;
# the first has a row an event.
COPIED = ("usage_fact", "usage_delta", "activity", "activity_mask", "receipt")
# What it is instead where facts are stored as columns: their chunk, and what it adds to windows.
CHUNKS, SUMS = "usage_chunk", "pending_sum"
AS_COLUMNS = {
    "usage_fact": CHUNKS,
    **dict.fromkeys(("usage_delta", "activity", "activity_mask"), SUMS),
}
CUT_OFF_S_MAX = 15.0
OPEN_BATCH = """
SELECT min((classid::bigint << 32) | objid::bigint) FROM pg_locks
 WHERE locktype = 'advisory' AND objsubid = 1 AND mode = 'ExclusiveLock' AND granted AND pid = $1
"""
# Whoever has the frozen worker's partition comes to the same ids and places, and waits for it.
TAKEN = """
SELECT count(*) FROM pg_stat_activity
 WHERE $1 = ANY (pg_blocking_pids(pid)) AND application_name <> $2
   AND starts_with(application_name, $3)
"""


async def freeze_in_copy(scene: Scene) -> list[str]:
    """It freezes, another takes its partition, by the seed its backend is ended; then it wakes."""
    ended = scene.draw.random() < 0.5
    while len(scene.workers.running) < 2:
        scene.workers.start()
    await scene.joined()
    await scene.settled()
    async with gate_at(scene.database.superuser_url, COPIED[0]) as gate:
        scene.release()
        held = await gate.meet(PREFIX)
        victim = scene.hit(held, f"frozen as it writes {COPIED[0]}")
        scene.workers.freeze(victim)
    scene.release()
    watcher = await connect(scene.database.superuser_url)
    try:
        wrong = await _while_frozen(scene, watcher, held) if held is not None else []
        if held is not None and ended:
            await watcher.execute("SELECT pg_terminate_backend($1, 5000)", held.pid)
            scene.met.append("its backend ended")
    finally:
        scene.workers.wake(victim)
        await watcher.close()
    if await scene.joined():
        scene.note(True, "woken, it works on")
        return wrong
    return [*wrong, f"{victim} was woken and did not come back into its group"]


async def _while_frozen(scene: Scene, watcher: Connection, held: Held) -> list[str]:
    inside = await waits_for_client(watcher, held)
    scene.note(inside, "inside its batch")
    number = await watcher.fetchval(OPEN_BATCH, held.pid)
    wrong, taken = [], False
    before, began = await scene.stored(), time.monotonic()
    while time.monotonic() < began + PATIENCE_S and not taken:
        wrong += await _cut_off(watcher, number)
        past = time.monotonic() > began + SESSION_MS / 1000
        taken = past and await watcher.fetchval(TAKEN, held.pid, held.name, PREFIX) > 0
        await asyncio.sleep(PAUSE_S)
    scene.note(taken, "its partition taken")
    more = await scene.stored() - before
    scene.met.append(f"others stored {more} records meanwhile")
    return wrong


async def _cut_off(watcher: Connection, number: int | None) -> list[str]:
    began = time.monotonic()
    cut_off = await draw_cut_off(watcher, PURPOSE)
    seconds = time.monotonic() - began
    wrong = []
    if number is not None and cut_off.batch_seq >= number:
        wrong.append(f"cut-off {cut_off.batch_seq} passed the frozen batch {number}")
    if seconds > CUT_OFF_S_MAX:
        wrong.append(f"a cut-off took {seconds:.1f} s while a worker was frozen")
    return wrong
