"""A thread of its own for each server: a slow one delays neither a round nor another server.

A pool of threads does as much, and takes longer to hand over than a page takes to read.
"""

import threading
from collections.abc import Callable
from datetime import datetime
from queue import SimpleQueue

from collectors.reading import CountersReading

Scrape = tuple[list[CountersReading], datetime]


class ScrapeThread:
    """Scrapes when asked, one at a time, and keeps what came of it until it is taken."""

    def __init__(self, scrape: Callable[[], Scrape]) -> None:
        self._scrape = scrape
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._ended: SimpleQueue[Scrape | Exception] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="scrape", daemon=True)
        self._under_way = False

    def begin(self) -> None:
        """Have it scrape, unless the last scrape is under way or not taken yet."""
        if self._under_way:
            return
        if self._thread.ident is None:
            self._thread.start()
        self._under_way = True
        self._asked.put(True)

    def take(self) -> Scrape | None:
        """What the last scrape brought, once, or the error it ended in; None where none has."""
        if self._ended.empty():
            return None
        self._under_way = False
        came = self._ended.get()
        if isinstance(came, Exception):
            raise came
        return came

    def close(self) -> None:
        """Wait for the scrape under way, and end."""
        self._asked.put(False)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._asked.get():
            try:
                self._ended.put(self._scrape())
            except Exception as error:
                self._ended.put(error)
