"""A collector's spool on a disk that runs full, and with pages that are torn or flipped."""

import asyncio
from pathlib import Path

from collectors.errors import SpoolError
from collectors.segments import SUFFIX
from tests.support.disks import damage
from tests.torture.host import Host
from tests.torture.scene import Scene


async def fill_spool(scene: Scene) -> list[str]:
    """The disk runs full under a collector: it says so, keeps what it has, and goes on after."""
    scene.release()
    return await asyncio.to_thread(_fill, scene)


def _fill(scene: Scene) -> list[str]:
    host, disk = scene.host(), scene.disk
    wrong = host.append(2)
    disk.fill()
    refused = host.append(3)
    wrong += [one for one in refused if "free the disk" not in one and "check the disk" not in one]
    host.close()
    try:
        host.open()
    except SpoolError as error:
        refused.append(str(error))
        wrong += [] if str(host.folder) in str(error) else [f"no place is named: {error}"]
    disk.free()
    errno = "ENOSPC" if any("No space left" in one for one in refused) else "EFBIG"
    scene.note(len(refused) >= 3, f"{errno}: {len(refused)} appends and starts refused")
    wrong += host.append(2) + host.waiting()
    wrong += [f"batch {n} is lost on a full disk" for n in sorted(host.lost)]
    return wrong + host.deliver()


async def damage_spool(scene: Scene) -> list[str]:
    """A page of the spool goes bad while the collector is down: it is named, and never sent."""
    scene.release()
    return await asyncio.to_thread(_damage, scene)


def _damage(scene: Scene) -> list[str]:
    host = scene.host()
    host.close()
    wrong = host.append(scene.draw.randrange(6, 12))
    host.close()
    first = min(n for n in host.kept if n > _acked(host))
    host.named.said.clear()
    path = scene.draw.choice(_fresh_files(host.folder, first))
    done = damage(scene.draw, path, Path(f"{scene.folder}/copies"))
    opened, lost = _opens(host), set[int]()
    if opened:
        wrong += host.waiting()
        lost = set(host.lost)
    wrong += [f"batch {n} was lost and not named" for n in sorted(lost - host.named.numbers)]
    scene.note(host.named.said, f"{done.what} in {path.suffix or path.name}")
    if not opened or scene.draw.random() < 0.5:
        host.close()
        done.mend()
        host.named.numbers -= lost
        wrong += host.waiting()
        wrong += [f"batch {n} is not back with its file" for n in sorted(host.lost)]
        scene.met.append("put back from a copy")
    elif lost:
        scene.met.append(f"{len(lost)} batches stay a gap")
    return wrong + host.append(2) + host.deliver()


def _acked(host: Host) -> int:
    acked = host.open().state().acked_sequence
    host.close()
    return acked


def _opens(host: Host) -> bool:
    try:
        host.open()
    except SpoolError as error:
        host.named.said.append(str(error))
        return False
    return True


def _fresh_files(folder: Path, first: int) -> list[Path]:
    """The segments of what waits, and once each the files of numbers and names."""
    segments = [p for p in folder.glob(f"*{SUFFIX}") if int(p.stem) >= first and p.stat().st_size]
    return sorted([*segments, *folder.glob("highest"), *folder.glob("*.json")])
