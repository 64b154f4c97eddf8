"""An event behind a line of an invoice."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class TracedEvent:
    """An event as it is stored, at (batch_seq, ordinal) of the stored order; an unknown count is
    None."""

    batch_seq: int
    ordinal: int
    kind: int
    source: str | None
    event_id: str | None
    time: datetime
    started_at: datetime | None
    first_token_at: datetime | None
    ended_at: datetime | None
    requests: int
    uncached: int | None
    cache_read: int | None
    cache_write: int | None
    visible: int | None
    reasoning: int | None
    flags: int
    agent_run_id: str | None

    @property
    def stored_at(self) -> tuple[int, int]:
        """Where it stands in the stored order."""
        return self.batch_seq, self.ordinal
