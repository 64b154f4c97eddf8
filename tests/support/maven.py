"""Folders that Maven fills from a pom, once for all who run tests here, and keeps in .cache."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache"


def filled(folder: Path, pom: Path, fill: Callable[[Path], None]) -> Path:
    """A folder of .cache as `fill` makes it of this pom; another pom makes it again."""
    CACHE.mkdir(exist_ok=True)
    made_from = folder / ".complete"
    with (CACHE / f"{pom.parent.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made_from.exists() or made_from.read_text() != pom.read_text():
            shutil.rmtree(folder, ignore_errors=True)
            fill(folder)
            made_from.write_text(pom.read_text())
    return folder
