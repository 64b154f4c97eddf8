"""Finds the record that no batch can be stored with: what failed together is sent again in less.

Invariant: a record goes aside only after it failed alone; whatever else was in its batch is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ledger.domain.metering.record import Record
from ledger.flows.metering.aside import refused_whole

# A batch of thousands needs four tries to find one.
_LESS = 8


@dataclass(slots=True)
class Isolation:
    """Where records stand that failed together (`until` by partition), and how many are sent at
    once there; `failed` are those that failed alone, with why."""

    until: dict[int, int] = field(default_factory=dict)
    at_once: int = 1
    failed: dict[tuple[int, int], BaseException] = field(default_factory=dict)

    def narrow(self, upto: Mapping[int, int], records: int, why: Exception) -> None:
        """A batch that ends before these offsets failed; raises where its one record is a dead
        letter already."""
        if records > 1:
            self.until = dict(upto)
            self.at_once = max(records // _LESS, 1)
            return
        ((partition, to),) = upto.items()
        offset = to - 1
        if (partition, offset) in self.failed:
            raise why
        self.failed[partition, offset] = why

    def share(self, partition: int, offset: int) -> int:
        """How many records like this one make a batch; 0 is as many as fit."""
        if (partition, offset) in self.failed:
            return 1
        return self.at_once if offset < self.until.get(partition, 0) else 0

    def judged(self, record: Record, partition: int, offset: int) -> Record:
        """The record, or the dead letter that it has become."""
        why = self.failed.get((partition, offset))
        return record if why is None else refused_whole(replace(record, refusal=""), why)

    def stored(self, partition: int, upto: int) -> None:
        """Forget what lies before an offset that is stored."""
        if self.failed:
            self.failed = {
                (at, offset): why
                for (at, offset), why in self.failed.items()
                if at != partition or offset >= upto
            }
