"""The shapes of how the ledger stands: what arrived, and how far it is read and worked on."""

from typing import Literal

from ledger.wire.answer_fields import ClosedModel, Moment
from ledger.wire.batch_answers import EndedSession, OpenBatch, Unmerged, Unsummed
from ledger.wire.budget_answers import BudgetAlert
from ledger.wire.calibration_answers import DriftedWeights
from ledger.wire.coverage_answers import Coverage, NoCoverage
from ledger.wire.credit_answers import LowBalance
from ledger.wire.plausible_answers import BillOff, ImplausibleWork
from ledger.wire.report_answers import Marks
from ledger.wire.stage_answers import Parked, StageState, WorkState
from ledger.wire.waiting_answers import Suspended, UnpricedOfEntity


class Fates(ClosedModel):
    """What became of what arrived; the fates add up to `received`."""

    received: int
    counted: int
    duplicate: int
    conflict: int
    quarantined: int
    superseded: int
    suspense: int


class SourceState(ClosedModel):
    """A source: what arrived of it by fate, and when last; without a form it was always refused."""

    source: str
    form: Literal["sequenced", "keyed"] | None
    received: int | None
    counted: int | None
    duplicate: int | None
    conflict: int | None
    quarantined: int | None
    superseded: int | None
    suspense: int | None
    last_received_at: Moment | None
    last_event_at: Moment | None
    silent_s: int | None


class SequenceGap(ClosedModel):
    """Numbers that are missing inside what a producer sent; with a bound key, of its `owner`."""

    source: str
    producer: str
    epoch: int
    owner: str
    first_missing: int
    last_missing: int


class KafkaPosition(ClosedModel):
    """How far a partition was read."""

    topic: str
    partition: int
    next_offset: int


class KafkaGap(ClosedModel):
    """Offsets that the broker no longer had."""

    topic: str | None
    partition: int
    from_offset: int
    to_offset: int
    noticed_at: Moment


class DayTables(ClosedModel):
    """Days that have tables of their own, locks that one look through these takes, and those of all
    sessions."""

    days: int
    locks: int
    locks_max: int


class Status(ClosedModel):
    """How the ledger stands."""

    now: Moment
    sources: list[SourceState]
    fates: Fates
    suspense: list[Suspended]
    unpriced: list[UnpricedOfEntity]
    quarantined: int
    dead_letters: int
    conflicts: int
    sequence_gaps: list[SequenceGap]
    kafka_positions: list[KafkaPosition]
    kafka_gaps: list[KafkaGap]
    stages: list[StageState]
    work: list[WorkState]
    parked: list[Parked]
    open_batches: list[OpenBatch]
    unsummed: Unsummed
    unmerged: Unmerged
    day_tables: DayTables
    ended_sessions: list[EndedSession]
    budget_alerts: list[BudgetAlert]
    low_balances: list[LowBalance]
    drifted_weights: list[DriftedWeights]
    implausible_work: list[ImplausibleWork]
    bills_off: list[BillOff]
    coverage: list[Coverage | NoCoverage]
    usage: Marks
