"""The thread that sends what is spooled, in order, and acknowledges only what was confirmed."""

import logging
import threading
import time
from collections.abc import Callable

from collectors.errors import CollectError, PublishError, SpoolError
from collectors.ongoing import Ongoing
from collectors.publish import Publisher
from collectors.refused import Refusal, RefusedEvents
from collectors.spool import Spool
from ledger.wire.batch import COLUMNAR, Batch

log = logging.getLogger(__name__)

BATCHES_PER_ROUND = 32
RETRY_S_FIRST = 1
RETRY_S_MAX = 60
IDLE_S = 60
END_S = 2


class Delivery:
    """Sends until told to stop; an error waits and tries again, and nothing is skipped.

    `delivered` and `refused` are events: what the other side took, and what of it did not count.
    """

    def __init__(
        self,
        spool: Spool,
        publisher: Publisher,
        encoding: str = COLUMNAR,
        *,
        refused: RefusedEvents,
    ) -> None:
        self._spool = spool
        self._publisher = publisher
        self._refused = refused
        self._encode = _columns() if encoding == COLUMNAR else _as_spooled
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._end = threading.Event()
        self._ends_at = 0.0
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self.delivered = 0
        self.failures = 0
        self.confirmed_at: float | None = None
        self.troubles = Ongoing(log)

    @property
    def alive(self) -> bool:
        """Whether batches are still being sent; false after an error nobody foresaw."""
        return self._thread.is_alive()

    @property
    def refused(self) -> int:
        """Events that were read at the other end and will never count."""
        return self._refused.count

    def go_on_from(self, before: "Delivery") -> None:
        """Count on from one whose place this takes."""
        self.delivered, self.failures = before.delivered, before.failures
        self.confirmed_at = before.confirmed_at
        self._refused.count += before.refused

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something new to send."""
        self._wake.set()

    def drain(self, timeout_s: float) -> None:
        """Stop once the spool is empty or the time is over; the rest stays spooled."""
        if self._thread.ident is None:
            self._publisher.close()
            return
        self._ends_at = time.monotonic() + timeout_s
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout_s)
        self._end.set()
        # The thread closes what it opened; one still waiting for an answer ends with the process.
        self._thread.join(END_S)

    def _run(self) -> None:
        try:
            self._send_until_told()
        finally:
            self._publisher.close()

    def _send_until_told(self) -> None:
        retry_s = RETRY_S_FIRST
        while not self._end.is_set():
            try:
                if self._send_round():
                    retry_s = RETRY_S_FIRST
                    continue
                if self._stop.is_set():
                    return
                self._rest(IDLE_S)
            except (CollectError, OSError) as error:
                wait_s = _wait_s(error, retry_s)
                self.failures += 1
                self.troubles.tell("publish", f"{error}; next try in {wait_s} s")
                retry_s = min(retry_s * 2, RETRY_S_MAX)
                if not self._wait(wait_s):
                    return

    def _wait(self, seconds: int) -> bool:
        """Whether there is time for another try, once it has come."""
        if not self._stop.wait(seconds):
            return True
        left_s = self._ends_at - time.monotonic()
        return left_s > 0 and not self._end.wait(min(seconds, left_s))

    def _send_round(self) -> bool:
        batches = self._spool.waiting(BATCHES_PER_ROUND)
        if not batches:
            return False
        by_number = {batch.header.sequence: batch for batch in batches}

        def keep(refusal: Refusal) -> None:
            self._refused.add(by_number[refusal.sequence], refusal)

        before = self.refused
        self._publisher.publish([self._encode(batch) for batch in batches], keep)
        self.confirmed_at = time.monotonic()
        self.delivered += sum(b.header.count for b in batches) - (self.refused - before)
        try:
            self._spool.acknowledge(batches[-1].header.sequence)
        except OSError as error:
            # They go out once more, as duplicates: the ledger counts each once.
            raise SpoolError(f"cannot note what was confirmed: {error}; free the disk") from error
        return True

    def _rest(self, seconds: int) -> None:
        self._wake.wait(seconds)
        self._wake.clear()


def _columns() -> Callable[[Batch], Batch]:
    """Imported where it is asked for: it needs the schema of all events, which readers do not."""
    from collectors.compact import compact

    return compact


def _as_spooled(batch: Batch) -> Batch:
    return batch


def _wait_s(error: Exception, retry_s: int) -> int:
    asked = error.retry_after_s if isinstance(error, PublishError) else None
    return retry_s if asked is None else asked
