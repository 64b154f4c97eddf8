"""Commands that are ended half way, and then run again to their end."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from tests.torture.cut_offs import AWAY
from tests.torture.gates import gate_at
from tests.torture.scene import PATIENCE_S, Scene
from tests.torture.workers import named

NAME = "half-way"
SEEN = "first_seen_at(batch_seq)"
# What a fold replaces, and what its rows are merged by.
FOLDED = {
    "usage_delta": "customer_id, usage_key_id, window_start",
    "activity": "engine_key_id, window_start",
    "activity_mask": "engine_key_id, window_start",
}
# Before the file of a day is begun, and when it is whole but the day not yet dropped.
ARCHIVED = ("fact_partition", "archived_partition")
# Before a chunk of merged facts comes, before those of batches lose theirs, and before rows go.
MERGED = ("merged_chunk", "usage_chunk", "usage_fact")


async def kill_merge(scene: Scene) -> list[str]:
    """The merge is ended between two of its statements; facts are merged all the same then."""
    await scene.until(lambda facts: facts > 0, "SELECT count(*) FROM receipt WHERE counted > 0")
    scene.release()
    return await _end_half_way(scene, ["merge", "--all"], scene.draw.choice(MERGED))


async def kill_fold(scene: Scene) -> list[str]:
    """The fold is ended when it has rows to replace."""
    table = scene.draw.choice([*FOLDED])
    await scene.until(lambda rows: rows > 0, "SELECT count(*) FROM usage_delta")
    scene.release()
    several = f"SELECT FROM {table} GROUP BY {FOLDED[table]}, {SEEN} HAVING count(*) > 1"
    await scene.until(lambda groups: groups > 0, f"SELECT count(*) FROM ({several}) AS g")
    return await _end_half_way(scene, ["fold", "--all"], table)


async def kill_archive(scene: Scene) -> list[str]:
    """The archive is ended before a day is in its file, or between the file and the drop."""
    scene.release()
    folder = Path(scene.folder) / scene.workers.topic
    command = ["archive", "--days", "1", "--to", str(folder)]
    return await _end_half_way(scene, command, scene.draw.choice(ARCHIVED))


async def _end_half_way(scene: Scene, command: list[str], table: str) -> list[str]:
    if scene.draw.random() < 0.3:
        wrong = await _lose_database(scene, command, table)
    else:
        wrong = await _kill(scene, command, table)
    code, told = await run_command(scene, command)
    # What workers stored by a clock that was set back is of days that are over, strangers' too.
    stays = command[0] == "archive" and ", 0 stay" not in told and not scene.stepped
    return wrong + ([f"{command[0]}: {told}"] if code or stays else [])


async def run_command(scene: Scene, command: list[str]) -> tuple[int, str]:
    """Run a command of the worker role to its end: its status, and all that it printed."""
    process = _start(scene.database.worker_url, command)
    said = await asyncio.to_thread(process.communicate)
    return process.returncode, b"".join(said).decode(errors="replace").strip()


async def _kill(scene: Scene, command: list[str], table: str) -> list[str]:
    async with gate_at(scene.database.superuser_url, table) as gate:
        process = _start(named(scene.database.worker_url, NAME), command)
        held = await gate.meet(NAME, patience_s=PATIENCE_S)
        process.kill()
        await asyncio.to_thread(process.communicate)
    scene.note(held, f"{command[0]} killed before its write of {table}")
    return []


async def _lose_database(scene: Scene, command: list[str], table: str) -> list[str]:
    """The database stops under a command, which must say so in one line."""
    immediate = scene.draw.random() < 0.5
    process, held = None, None
    try:
        async with gate_at(scene.database.superuser_url, table) as gate:
            process = _start(named(scene.database.worker_url, NAME), command)
            held = await gate.meet(NAME, patience_s=PATIENCE_S)
            await asyncio.to_thread(scene.server.stop, immediate=immediate)
    except AWAY:
        pass
    finally:
        await asyncio.to_thread(scene.server.start)
    if process is None:
        return []
    said = (await asyncio.to_thread(process.communicate))[1].decode(errors="replace")
    scene.note(held, f"{command[0]} lost its database before its write of {table}")
    plain = said.startswith("error: ") and said.count("\n") == 1 and process.returncode == 1
    return [f"{command[0]} without its database: {said}"] if held and not plain else []


def _start(url: str, command: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "ledger.cli", *command],
        env=os.environ | {"TOKENLEDGER_WORKER_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
