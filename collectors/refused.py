"""Events that the ledger read and would not count: counted, named, and kept as far as told.

They are confirmed all the same: sending them again would be refused again, and hold up the rest.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ledger.wire.batch import Batch
from ledger.wire.ndjson import iter_lines

log = logging.getLogger(__name__)

FILE = "refused.ndjson"
KEPT_BYTES = 16 * 1024 * 1024
REASONS_LOGGED = 3
REASON_CHARS_MAX = 400


@dataclass(frozen=True, slots=True)
class Refusal:
    """What of one batch was refused: reasons by the event's place in it, or one for all of it."""

    sequence: int
    reasons: Mapping[int, str]
    whole: str | None = None

    def reason_of(self, ordinal: int) -> str | None:
        """Why this event was refused, None where it was not."""
        return self.whole if self.whole is not None else self.reasons.get(ordinal)


OnRefused = Callable[[Refusal], None]


class RefusedEvents:
    """Counts what was refused, and keeps up to `bytes_max` of it beside the spool, with its reason.

    A file that is full takes no more: its first events say what is wrong with those that follow.
    """

    def __init__(self, directory: Path, bytes_max: int = KEPT_BYTES) -> None:
        self._path = directory / FILE
        self._bytes_max = bytes_max
        self.count = 0

    def add(self, batch: Batch, refusal: Refusal) -> None:
        """Take note of a refusal; a disk that cannot keep the events is no reason to stop."""
        refused = [
            (ordinal, line, reason)
            for ordinal, line in enumerate(iter_lines(batch.body))
            if (reason := refusal.reason_of(ordinal)) is not None
        ]
        self.count += len(refused)
        said = sorted({reason[:REASON_CHARS_MAX] for _, _, reason in refused})
        log.error(
            "publish: the ledger refused %d of %d events of batch %d: %s",
            len(refused),
            batch.header.count,
            batch.header.sequence,
            "; ".join(said[:REASONS_LOGGED]),
        )
        lines = [
            json.dumps(
                {
                    "epoch": batch.header.epoch,
                    "sequence": batch.header.sequence,
                    "ordinal": ordinal,
                    "reason": reason,
                    "event": bytes(line).decode("utf-8", errors="replace"),
                }
            )
            for ordinal, line, reason in refused
        ]
        try:
            self._keep("".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            log.error("publish: %s cannot keep refused events: %s", self._path, error)

    def _keep(self, text: bytes) -> None:
        if not self._bytes_max:
            return
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if os.fstat(file).st_size + len(text) <= self._bytes_max:
                os.write(file, text)
        finally:
            os.close(file)
