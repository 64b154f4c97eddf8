"""A worker whose wall clock is wrong by as much as a file says: one of `tokenledger` in all else.

The ledger reads its clock in one place, and that place reads another one here.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ledger import clock
from ledger.cli import main

CLOCK = "TORTURE_CLOCK"


def now() -> datetime:
    """The present moment, as a machine says whose clock was set anew while it ran."""
    try:
        wrong_by = timedelta(seconds=float(Path(os.environ[CLOCK]).read_text(encoding="utf-8")))
    except FileNotFoundError:
        wrong_by = timedelta()
    return datetime.now(UTC) + wrong_by


def be() -> None:
    """Be a command of `tokenledger`; whoever has imported the clock by its name gets this one."""
    clock.now = now
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("ledger.") and "now" in vars(module):
            vars(module)["now"] = now
    main()
