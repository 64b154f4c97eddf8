"""Where a sequenced batch stands, and the number to lock for it."""

from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class BatchIdentity:
    """Where a sequenced batch stands: no two batches have the same."""

    source_id: int
    producer: str
    epoch: int
    sequence: int


def identity_lock(identity: BatchIdentity) -> int:
    """A number to lock for a place; two places may share one, which costs a wait."""
    return lock_number(
        f"{identity.source_id}/{identity.producer}/{identity.epoch}/{identity.sequence}"
    )


def lock_number(text: str) -> int:
    """A number of 32 bits, signed, to lock for what `text` names."""
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big", signed=True)
