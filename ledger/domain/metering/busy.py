"""The seconds of a window in which work ran: bit n is second n.

An attempt is busy in each second that [start, end) touches, and where it is empty in its own.
Invariant: masks merge by OR, so batches may come in any order and more than once.
"""

from collections.abc import Iterator

from ledger.domain.period import WINDOW_SECONDS


def busy_seconds(mask: int) -> int:
    """How many of the 900 seconds are busy."""
    return mask.bit_count()


def runs(mask: int) -> Iterator[tuple[int, int, bool]]:
    """(first second, end second, busy) of each stretch, covering the whole window in order."""
    at = 0
    while at < WINDOW_SECONDS:
        rest = mask >> at
        busy = bool(rest & 1)
        flipped = ~rest if busy else rest
        length = (flipped & -flipped).bit_length() - 1 if flipped else WINDOW_SECONDS - at
        end = min(at + length, WINDOW_SECONDS)
        yield at, end, busy
        at = end
