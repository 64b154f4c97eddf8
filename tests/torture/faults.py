"""The faults of a seed, one after the other while workers read: each returns what it saw wrong."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from ledger.store.postgres import EmbeddedServer
from tests.support.database import Database
from tests.support.kafka import Broker
from tests.torture.cut_offs import AWAY, hold_open
from tests.torture.workers import SESSION_MS, Workers, seen_doing


@dataclass
class Scene:
    """All that a fault may lay hands on."""

    draw: random.Random
    server: EmbeddedServer
    broker: Broker
    database: Database
    workers: Workers
    folder: str

    def any_worker(self) -> str:
        """One of the workers that run."""
        return self.draw.choice(sorted(self.workers.running))


async def kill_any_time(scene: Scene) -> list[str]:
    """A worker dies wherever it happens to be."""
    await asyncio.sleep(scene.draw.random())
    scene.workers.kill(scene.any_worker())
    scene.workers.start()
    return []


async def kill_in_commit(scene: Scene) -> list[str]:
    """A worker dies while PostgreSQL commits for it, or, met too late, right after."""
    return await _kill_in(scene, "COMMIT")


async def kill_in_copy(scene: Scene) -> list[str]:
    """A worker dies inside a COPY."""
    return await _kill_in(scene, "COPY")


async def _kill_in(scene: Scene, statement: str) -> list[str]:
    name = await seen_doing(scene.database.superuser_url, statement)
    victim = name if name in scene.workers.running else scene.any_worker()
    scene.workers.kill(victim)
    scene.workers.start()
    return []


async def freeze_in_copy(scene: Scene) -> list[str]:
    """A worker freezes inside a COPY and past its session; another goes on; then it wakes."""
    name = await seen_doing(scene.database.superuser_url, "COPY")
    victim = name if name in scene.workers.running else scene.any_worker()
    scene.workers.freeze(victim)
    if len(scene.workers.running) < 2:
        scene.workers.start()
    await asyncio.sleep(SESSION_MS / 1000 + 2)
    scene.workers.wake(victim)
    return []


async def stop_database(scene: Scene) -> list[str]:
    """PostgreSQL ends as in a power cut, and recovers."""
    await asyncio.to_thread(scene.server.stop, immediate=True)
    await asyncio.sleep(scene.draw.random())
    await asyncio.to_thread(scene.server.start)
    return []


async def stop_broker(scene: Scene) -> list[str]:
    """The broker dies and comes back."""
    await asyncio.to_thread(scene.broker.kill)
    await asyncio.sleep(scene.draw.random())
    await asyncio.to_thread(scene.broker.start)
    return []


async def rebalance(scene: Scene) -> list[str]:
    """Workers come and go, up to three at once."""
    while len(scene.workers.running) < 3:
        scene.workers.start()
    await asyncio.sleep(1 + scene.draw.random())
    await asyncio.to_thread(scene.workers.stop, scene.any_worker())
    return []


async def open_batch(scene: Scene) -> list[str]:
    """Somebody holds a batch open; cut-offs and workers go on."""
    return await hold_open(scene.database.worker_url, 0.5 + scene.draw.random())


async def kill_fold(scene: Scene) -> list[str]:
    """The fold is killed half way."""
    command = [sys.executable, "-m", "ledger.cli", "fold", "--all"]
    await _kill_command(scene, command)
    return []


async def kill_archive(scene: Scene) -> list[str]:
    """The archive is killed half way, and then run again to its end."""
    command = [sys.executable, "-m", "ledger.cli", "archive", "--days", "1", "--to"]
    command.append(f"{scene.folder}/{scene.workers.topic}")
    await _kill_command(scene, command)
    environment = _environment() | {"TOKENLEDGER_WORKER_URL": scene.database.worker_url}
    run = subprocess.run
    done = await asyncio.to_thread(run, command, env=environment, capture_output=True, check=False)
    said = done.stdout.decode() + done.stderr.decode()
    return [] if done.returncode == 0 and ", 0 stay" in said else [f"archive: {said}"]


async def _kill_command(scene: Scene, command: list[str]) -> None:
    url = {"TOKENLEDGER_WORKER_URL": scene.database.worker_url}
    process = subprocess.Popen(
        command,
        env=_environment() | url,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # Most of its life such a command loads; its work is the end of it.
    await asyncio.sleep(0.5 + scene.draw.random())
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(process.wait)


def _environment() -> dict[str, str]:
    return dict(os.environ)


# It needs days that are over: such a seed has a past.
ARCHIVE = "kill archive"
Fault = Callable[[Scene], Awaitable[list[str]]]
FAULTS: Mapping[str, Fault] = {
    "kill": kill_any_time,
    "kill in commit": kill_in_commit,
    "kill in copy": kill_in_copy,
    "freeze in copy": freeze_in_copy,
    "stop database": stop_database,
    "stop broker": stop_broker,
    "rebalance": rebalance,
    "open batch": open_batch,
    "kill fold": kill_fold,
    ARCHIVE: kill_archive,
}
# A freeze lasts longer than a session, a broker takes seconds to come back.
SELDOM = ("freeze in copy", "stop broker", ARCHIVE)


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
    except AWAY:
        return []
