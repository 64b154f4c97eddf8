"""What is handed to ingest and what comes back: records of items, and a fate for each item."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ledger.domain.metering.fact import Fate, Reason
from ledger.domain.metering.lines import items_guessed
from ledger.domain.metering.permission import Permission
from ledger.domain.metering.target import CorrectionTarget
from ledger.wire.batch import COLUMNAR, MAX_BATCH_EVENTS, NDJSON, BatchHeader

# What callers see of a fate, item by item.
OUTCOMES: Mapping[Fate, str] = {
    Fate.COUNTED: "created",
    Fate.SUSPENSE: "suspense",
    Fate.SUPERSEDED: "superseded",
    Fate.DUPLICATE: "duplicate",
    Fate.CONFLICT: "conflict",
    Fate.QUARANTINED: "rejected",
}
# COUNTED comes first; a record of plain events has nothing else.
_NONE_OF_THE_REST = (0,) * (len(Fate) - 1)


@dataclass(frozen=True, slots=True)
class ReplayOf:
    """The quarantined item that a record reads again, and where that was stored.

    `target` names the place it holds in a sequenced batch; None is an event with an id of its own.
    `whole` is a dead letter: a record that arrives anew, with all its items.
    """

    quarantine_id: int
    batch_seq: int
    ordinal: int
    target: CorrectionTarget | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record, one HTTP body or a piece of a file: items, and where they came from.

    `header` None is keyed: each event has an id of its own. `refusal` says why it is refused whole
    and unread, `refused_for` is the code of that reason. `permission` None may write everything.
    `transport` is kafka, http, file or internal. `replay_of` is set by replays alone. `unread` says
    of items, by their place, what their maker could not make of what it read, where that says more.
    """

    body: bytes
    header: BatchHeader | None = None
    transport: str = "http"
    position: str = ""
    actor: str = ""
    lane: int = 0
    permission: Permission | None = None
    refusal: str = ""
    refused_for: Reason = Reason.BAD_HEADER
    replay_of: ReplayOf | None = None
    encoding: str = NDJSON
    unread: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_columnar(self) -> bool:
        """Whether the body is columns, as its header says or, without one, `encoding`."""
        encoding = self.encoding if self.header is None else self.header.encoding
        return encoding == COLUMNAR

    def without_body(self) -> "Record":
        """It but for its bytes."""
        # Field by field: `replace` asks for each by its name, which costs as much as all else that
        # is made of a record of one event.
        return Record(
            b"",
            self.header,
            self.transport,
            self.position,
            self.actor,
            self.lane,
            self.permission,
            self.refusal,
            self.refused_for,
            self.replay_of,
            self.encoding,
            self.unread,
        )

    def items_guessed(self) -> int:
        """About how many items it holds, to share work by."""
        if self.header is not None:
            return self.header.count
        return MAX_BATCH_EVENTS if self.is_columnar else items_guessed(self.body)


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What became of one item; `ordinal` is its place in the record, from 0.

    `outcome` is created, suspense, superseded, duplicate, conflict or rejected; the latter with a
    reason code and a detail that names the field.
    """

    ordinal: int
    outcome: str
    event_id: str | None = None
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """What became of a record, and every item that was not simply counted.

    `tally` has how many items met each fate, in the order of `Fate`; `unknown` how many events have
    an attribute that nobody reads, by its name.
    """

    received: int
    batch_seq: int
    ordinal_from: int
    tally: Sequence[int]
    exceptions: Mapping[int, ItemOutcome] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[Fate, int]:
        """The tally by name."""
        return dict(zip(Fate, self.tally, strict=True))

    def items(self) -> Iterator[ItemOutcome]:
        """The outcome of every item, in order."""
        for ordinal in range(self.received):
            yield self.exceptions.get(ordinal) or ItemOutcome(ordinal, OUTCOMES[Fate.COUNTED])


def count_fates(received: int, fates: Mapping[int, Fate]) -> Sequence[int]:
    """How many items of a record met each fate, in its order; those not named were counted."""
    if not fates:
        return received, *_NONE_OF_THE_REST
    counts = Counter(fates.values())
    counts[Fate.COUNTED] = received - len(fates) + counts[Fate.COUNTED]
    return [counts[fate] for fate in Fate]
