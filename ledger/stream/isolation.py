"""Finds the record that no batch can be stored with: what failed together is sent again in less.

Invariant: a record goes aside only after it failed alone, and where the database may be to blame
only after others were stored between its failures; whatever else was in its batch is stored.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ledger.domain.metering.record import Record
from ledger.flows.metering.aside import refused_whole
from ledger.store.metering.positions import PositionMove

# A batch of thousands needs four tries to find one.
_LESS = 8
# How often a record fails while others do not before it goes aside.
WITNESSED = 3
# How many other records are tried to learn whether the database takes any.
WITNESSES = 4
RecordPosition = tuple[int, int]
T = TypeVar("T")


@dataclass(slots=True)
class _Suspect:
    """A record that the database did not take: why, where it stands, how often another was taken
    right after it had failed, and whether it failed since another was tried."""

    why: BaseException
    move: PositionMove
    witnessed: int = 0
    unheard: bool = True


@dataclass(slots=True)
class Isolation:
    """Where records stand that failed together (`until` by partition), and how many are sent at
    once there; `failed` are those that failed alone, with why; `topic` is whose offsets these are.
    """

    until: dict[int, int] = field(default_factory=dict)
    at_once: int = 1
    failed: dict[RecordPosition, BaseException] = field(default_factory=dict)
    topic: tuple[str, str] = ("", "")
    _suspects: dict[RecordPosition, _Suspect] = field(default_factory=dict)
    _asked: int = 0

    def begin(self, topic: tuple[str, str]) -> None:
        """Forget what was of another topic, which may have the same name."""
        if topic != self.topic:
            self.topic, self.until, self.failed, self._suspects = topic, {}, {}, {}

    def narrow(self, moves: Sequence[PositionMove], records: int, why: Exception) -> None:
        """A batch failed of its content; raises where its one record is a dead letter already."""
        if records > 1:
            self._send_less(moves, records)
            return
        position = _offset_of(moves[0])
        if position in self.failed:
            raise why
        self.failed[position] = why

    def hold(self, moves: Sequence[PositionMove], records: int, why: Exception) -> None:
        """A batch failed, and the database may be to blame."""
        if records > 1:
            self._send_less(moves, records)
            return
        position = _offset_of(moves[0])
        if position not in self.failed:
            suspect = self._suspects.setdefault(position, _Suspect(why, moves[0]))
            suspect.why, suspect.move, suspect.unheard = why, moves[0], True

    def _send_less(self, moves: Sequence[PositionMove], records: int) -> None:
        self.until = {move.partition.partition: move.next_offset for move in moves}
        self.at_once = max(records // _LESS, 1)

    def unheard(self, partitions: Container[int]) -> list[PositionMove]:
        """The steps of records there that failed alone, while nobody knows if another would."""
        suspects = [suspect for (at, _), suspect in self._suspects.items() if at in partitions]
        return [suspect.move for suspect in suspects if suspect.unheard]

    def witnesses(self, others: Sequence[T]) -> Sequence[T]:
        """A few records to be tried, others each time: some of them may be no better."""
        self._asked += 1
        first = self._asked % max(len(others), 1)
        turned = [*others[first:], *others[:first]]
        return turned[:: max(len(turned) // WITNESSES, 1)][:WITNESSES]

    def hear(self, moves: Sequence[PositionMove], *, stored: bool) -> None:
        """Another record was tried right after: a suspect fails by itself, or the database does."""
        for position in map(_offset_of, moves):
            suspect = self._suspects[position]
            if suspect.unheard:
                suspect.witnessed = suspect.witnessed + 1 if stored else 0
                suspect.unheard = False
            if suspect.witnessed >= WITNESSED:
                self.failed[position] = suspect.why
                del self._suspects[position]

    def meets(self, partition: int) -> bool:
        """Whether something of this partition failed and is not stored yet."""
        positions = (*self.failed, *self._suspects)
        return partition in self.until or any(at == partition for at, _ in positions)

    def knows(self, partition: int, offset: int) -> bool:
        """Whether this record failed alone."""
        return (partition, offset) in self.failed or (partition, offset) in self._suspects

    def share(self, partition: int, offset: int) -> int:
        """How many records like this one make a batch; 0 is as many as fit."""
        if self.knows(partition, offset):
            return 1
        return self.at_once if offset < self.until.get(partition, 0) else 0

    def judged(self, record: Record, partition: int, offset: int) -> Record:
        """The record, or the dead letter that it has become."""
        why = self.failed.get((partition, offset))
        return record if why is None else refused_whole(replace(record, refusal=""), why)

    def stored(self, partition: int, upto: int) -> None:
        """Forget what lies before an offset that is stored."""
        if self.until.get(partition, upto + 1) <= upto:
            del self.until[partition]
        for positions in (self.failed, self._suspects):
            for at, offset in [*positions]:
                if at == partition and offset < upto:
                    del positions[at, offset]


def _offset_of(move: PositionMove) -> RecordPosition:
    return move.partition.partition, move.next_offset - 1
