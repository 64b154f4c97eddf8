"""Which files of the product something went through, in the order in which it met them."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import CO_OPTIMIZED
from types import FrameType
from typing import Any

from tests.architecture.sources import ROOT

PREFIXES = (f"{ROOT}/ledger/", f"{ROOT}/collectors/")


@contextmanager
def visited() -> Iterator[dict[str, None]]:
    """Files whose functions are called, each once, by this thread and those that it starts."""
    files: dict[str, None] = {}

    def note(frame: FrameType, event: str, _arg: Any) -> None:
        code = frame.f_code
        if (
            event == "call"
            and code.co_flags & CO_OPTIMIZED
            and code.co_filename.startswith(PREFIXES)
        ):
            files.setdefault(code.co_filename.removeprefix(f"{ROOT}/"))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield files
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
