"""What ingest takes and keeps, as the settings of a process say."""

from dataclasses import dataclass
from datetime import datetime

from ledger.domain.metering.validate import EARLIEST
from ledger.flows.metering.stored import CHUNK_FACTS, FEW_ROWS
from ledger.settings import Settings

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """The largest body, how long raw bytes of refused items are kept, the end users' key, the first
    moment at which an event can have happened, how many events are kept of what conflicts of a
    source offer in a day, from how many facts on those of a batch are stored as columns, and up to
    how many rows in one statement."""

    body_bytes_max: int = 16 * MIB
    quarantine_days: int = 30
    end_user_secret: bytes | None = None
    earliest: datetime = EARLIEST
    offered_of_source: int = 20_000
    chunk_facts: int = CHUNK_FACTS
    few_rows: int = FEW_ROWS


def limits_of(settings: Settings, *, body_bytes_max: int | None = None) -> IngestLimits:
    """The limits that settings name; `body_bytes_max` where another decides how long a body is."""
    secret = settings.end_user_secret
    return IngestLimits(
        body_bytes_max=body_bytes_max or settings.body_limit_mib * MIB,
        quarantine_days=settings.quarantine_days,
        end_user_secret=secret.get_secret_value().encode() if secret is not None else None,
        earliest=settings.earliest_event,
        chunk_facts=settings.columns_from,
    )
