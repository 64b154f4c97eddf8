"""The thread that sends what is spooled, in order, and acknowledges only what was confirmed."""

import logging
import threading

from collectors.compact import compact
from collectors.errors import CollectError, PublishError, SpoolError
from collectors.publish import Publisher
from collectors.spool import Spool
from ledger.wire.batch import COLUMNAR, Batch

log = logging.getLogger(__name__)

BATCHES_PER_ROUND = 32
RETRY_S_FIRST = 1
RETRY_S_MAX = 60
IDLE_S = 5


class Delivery:
    """Sends until told to stop; an error waits and tries again, and nothing is skipped."""

    def __init__(self, spool: Spool, publisher: Publisher, encoding: str = COLUMNAR) -> None:
        self._spool = spool
        self._publisher = publisher
        self._encode = compact if encoding == COLUMNAR else _as_spooled
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self.delivered = 0
        self.failures = 0

    @property
    def alive(self) -> bool:
        """Whether batches are still being sent; false after an error nobody foresaw."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something new to send."""
        self._wake.set()

    def drain(self, timeout_s: float) -> None:
        """Stop once the spool is empty or the time is over; the rest stays spooled."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout_s)
        self._publisher.close()

    def _run(self) -> None:
        retry_s = RETRY_S_FIRST
        while True:
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
                log.warning("publish: %s; next try in %d s", error, wait_s)
                retry_s = min(retry_s * 2, RETRY_S_MAX)
                if self._stop.is_set():
                    return
                self._stop.wait(wait_s)

    def _send_round(self) -> bool:
        batches = self._spool.waiting(BATCHES_PER_ROUND)
        if not batches:
            return False
        self._publisher.publish([self._encode(batch) for batch in batches])
        self.delivered += len(batches)
        try:
            self._spool.acknowledge(batches[-1].header.sequence)
        except OSError as error:
            # They go out once more, as duplicates: the ledger counts each once.
            raise SpoolError(f"cannot note what was confirmed: {error}; free the disk") from error
        return True

    def _rest(self, seconds: int) -> None:
        self._wake.wait(seconds)
        self._wake.clear()


def _as_spooled(batch: Batch) -> Batch:
    return batch


def _wait_s(error: Exception, retry_s: int) -> int:
    asked = error.retry_after_s if isinstance(error, PublishError) else None
    return retry_s if asked is None else asked
