"""What orders readings on one host: its boot, the time since then, and the load of a driver."""

import os
import time
from decimal import Decimal
from pathlib import Path

BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")
BOOT_ID_CHARS = 13
# Readings further apart than this, or than three of their rounds, are a silence.
SILENCE_US = 10_000_000


def silence_of(interval_s: Decimal) -> int:
    """How far apart readings that are taken so often may lie, in microseconds."""
    return max(SILENCE_US, int(3 * interval_s * 1_000_000))


def read_boot_id(path: Path = BOOT_ID_PATH) -> str | None:
    """The kernel's name for this boot, as much of it as tells two apart; None where it has none."""
    try:
        return path.read_text(encoding="ascii").strip()[:BOOT_ID_CHARS] or None
    except OSError:
        return None


def since_boot_us() -> int:
    """Microseconds since the host was started, its sleep included; nobody sets this clock."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000


def driver_load(module: str) -> str | None:
    """Which load of a kernel module this is: the kernel numbers its folder anew at each."""
    try:
        return f"{module}-{os.stat(f'/sys/module/{module}').st_ino}"
    except OSError:
        return None
