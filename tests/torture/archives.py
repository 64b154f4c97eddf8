"""An archive on a disk that runs full, and one whose pages are torn or flipped."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from ledger.domain.errors import LedgerError
from ledger.flows.metering.check import check_windows
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.replay import replay_quarantine
from ledger.store.connect import connect
from ledger.store.metering.retention import list_archived
from tests.support.disks import damage, small_disk
from tests.torture.commands import run_command
from tests.torture.scene import Scene

AWAY = """
SELECT quarantine_id FROM quarantine q WHERE reason = 'target_away'
   AND NOT EXISTS (SELECT FROM quarantine_replay r WHERE r.quarantine_id = q.quarantine_id)
 ORDER BY 1
"""


async def fill_archive(scene: Scene) -> list[str]:
    """The archive's disk is full: one line says so, the day stays where it is, and goes later."""
    scene.release()
    folder = Path(f"{scene.folder}/{scene.workers.topic}-full")
    disk = scene.stack.enter_context(small_disk(folder))
    command = ["archive", "--days", "1", "--to", str(folder)]
    disk.fill()
    try:
        code, told = await run_command(scene, command)
    finally:
        disk.free()
    gone = await scene.value("SELECT count(*) FROM archived_partition")
    scene.note(code == 1, f"refused: {told[:120]}")
    plain = told.startswith("error: ") and "\n" not in told and str(folder) in told
    wrong = [] if plain else [f"archive on a full disk: {told}"]
    wrong += [f"{gone} days are gone from a full disk"] if gone else []
    code, told = await run_command(scene, command)
    return wrong + ([f"archive once there is room: {told}"] if code or _stays(scene, told) else [])


def _stays(scene: Scene, told: str) -> bool:
    return ", 0 stay" not in told and not scene.stepped


async def damage_archive(scene: Scene) -> list[str]:
    """A page of an archived day goes bad: it is named and never summed; who needs it waits."""
    folder = Path(f"{scene.folder}/{scene.workers.topic}")
    code, told = await run_command(scene, ["archive", "--days", "1", "--to", str(folder)])
    if code:
        return [f"archive: {told}"]
    connection = await connect(scene.database.worker_url)
    try:
        path = Path(str((await list_archived(connection))[0].path))
        done = damage(scene.draw, path, Path(f"{scene.folder}/copies"))
        named = await _refusal(scene)
        scene.release()
        await scene.settled()
        done.mend()
        again = await _refusal(scene)
        waited = [row[0] for row in await connection.fetch(AWAY)]
        await replay_quarantine(
            connection,
            waited,
            directory=DirectoryCache(),
            now=datetime.now(UTC),
            limits=IngestLimits(),
        )
        # What a body in flight found away until now waits for the end of the seed.
        left = len({row[0] for row in await connection.fetch(AWAY)}.intersection(waited))
    finally:
        await connection.close()
    wrong = [] if str(path) in named else [f"{done.what} in {path}, and check said: {named}"]
    wrong += [f"the file is back, and check said: {again}"] if again else []
    wrong += [f"{left} of {len(waited)} corrections wait for a file that is back"] if left else []
    scene.note(waited, f"{done.what}, named, {len(waited)} corrections waited for it")
    return wrong


async def _refusal(scene: Scene) -> str:
    """What `check` says of files that it cannot take for what they were."""
    connection = await connect(scene.database.worker_url)
    try:
        await asyncio.wait_for(check_windows([connection]), 60)
    except LedgerError as error:
        return str(error)
    finally:
        await connection.close()
    return ""
