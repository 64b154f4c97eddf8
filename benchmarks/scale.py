"""How large a measurement is: whole by default, smaller while a benchmark is being written."""

import os

SCALE = float(os.environ.get("BENCH_SCALE", "1"))
RUNS = int(os.environ.get("BENCH_RUNS", "5"))


def scaled(events: int, multiple: int = 1) -> int:
    """`events` at the scale of this run, as a multiple of `multiple` and at least one of it."""
    return max(1, round(events * SCALE / multiple)) * multiple
