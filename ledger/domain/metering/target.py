"""Names what a correction replaces, so that it can be found whichever of the two came first."""

import re
from dataclasses import dataclass

from ledger.domain.metering.batch_identity import BatchIdentity, identity_lock, lock_number
from ledger.domain.metering.identities import EventId

_NAMED = re.compile(r"(.{1,200})/(\d{1,19})/(\d{1,19})/(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class CorrectionTarget:
    """What a correction replaces: an id of a keyed source, or producer/epoch/sequence/ordinal.

    An id may look like a place and names none: `keyed` tells them apart. None is a source that has
    sent nothing yet, so that its name may turn out to be either.
    """

    source_id: int
    target: str
    keyed: bool | None = False

    def named_batch(self) -> tuple[BatchIdentity, int] | None:
        """Batch and ordinal that a sequenced target names, or may name."""
        match = _NAMED.fullmatch(self.target)
        if self.keyed or match is None:
            return None
        epoch, sequence, ordinal = int(match[2]), int(match[3]), int(match[4])
        return BatchIdentity(self.source_id, match[1], epoch, sequence), ordinal

    def lock(self) -> int:
        """The number to lock for whoever replaces it: that of its batch, or one of its own."""
        named = self.named_batch()
        return identity_lock(named[0]) if named else lock_number(f"{self.source_id}/{self.target}")


def event_target(event: EventId) -> CorrectionTarget:
    """The target that names an event by its id."""
    return CorrectionTarget(event.source_id, event.event_id, keyed=True)


def target_of(batch: BatchIdentity, ordinal: int) -> CorrectionTarget:
    """The target that names an event of a sequenced batch."""
    text = f"{batch.producer}/{batch.epoch}/{batch.sequence}/{ordinal}"
    return CorrectionTarget(batch.source_id, text)
