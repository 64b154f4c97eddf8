"""Commands that are killed half way, and then run again to their end."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from tests.torture.gates import gate_at
from tests.torture.scene import MISSED, PATIENCE_S, Scene
from tests.torture.workers import named

NAME = "half-way"


async def kill_fold(scene: Scene) -> list[str]:
    """The fold is killed when it has rows to replace."""
    await scene.until(lambda rows: rows > 0, "SELECT count(*) FROM usage_delta")
    scene.release()
    return await _kill_half_way(scene, ["fold", "--all"], "usage_delta")


async def kill_archive(scene: Scene) -> list[str]:
    """The archive is killed between its file and the drop of the day."""
    scene.release()
    folder = Path(scene.folder) / scene.workers.topic
    command = ["archive", "--days", "1", "--to", str(folder)]
    return await _kill_half_way(scene, command, "archived_partition")


async def _kill_half_way(scene: Scene, command: list[str], table: str) -> list[str]:
    url = scene.database.worker_url
    async with gate_at(scene.database.superuser_url, table) as gate:
        process = _start(named(url, NAME), command)
        held = await gate.meet(NAME, patience_s=PATIENCE_S)
        process.kill()
        await asyncio.to_thread(process.communicate)
    where = f"{command[0]} killed before its write of {table}"
    scene.met.append(where if held is not None else f"{MISSED} {where}")
    again = _start(url, command)
    said = await asyncio.to_thread(again.communicate)
    told = b"".join(said).decode(errors="replace").strip()
    stays = command[0] == "archive" and ", 0 stay" not in told
    return [f"{command[0]}: {told}"] if again.returncode or stays else []


def _start(url: str, command: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "ledger.cli", *command],
        env=os.environ | {"TOKENLEDGER_WORKER_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
