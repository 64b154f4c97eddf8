"""Machine code that is kept follows what it was made of, in other files too."""

import os
import subprocess
import sys
from pathlib import Path

CALLED = (
    "from ledger.domain.compiled import compiled\nBASE = {}\n"
    "@compiled\ndef grown(of): return of + {}\n"
)
CALLER = (
    "from ledger.domain.compiled import compiled\nfrom below import BASE, grown\n"
    "@compiled\ndef twice(of): return 2 * grown(of) + BASE\n"
)


def said(folder: Path, base: int, more: int) -> tuple[int, int]:
    """What the caller says in a new process, and from how many files its code was read."""
    (folder / "below.py").write_text(CALLED.format(base, more))
    asked = "from above import twice; print(twice(1), sum(twice.stats.cache_hits.values()))"
    answered = subprocess.run(
        [sys.executable, "-c", asked],
        # Kept bytecode would not notice a change of the same length within a second.
        env=os.environ | {"PYTHONPATH": f"{folder}:{Path.cwd()}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    value, hits = answered.stdout.split()
    return int(value), int(hits)


def test_code_that_is_kept_is_made_anew_when_what_it_calls_changes(tmp_path: Path) -> None:
    (tmp_path / "above.py").write_text(CALLER)
    assert said(tmp_path, 0, 10) == (22, 0)
    assert said(tmp_path, 0, 10) == (22, 1)
    assert said(tmp_path, 0, 20) == (42, 0)
    assert said(tmp_path, 5, 20) == (47, 0)
