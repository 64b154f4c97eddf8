"""How far stages and other work have come, as `status` answers it."""

from ledger.wire.answer_fields import ClosedModel, Moment


class StageState(ClosedModel):
    """When a stage ran last, and how many batches were drawn since; null before it ever ran."""

    stage: str
    batch_seq: int | None
    ran_at: Moment | None
    behind: int | None


class WorkState(ClosedModel):
    """When background work last succeeded, for an entity or ('') for all."""

    work: str
    entity_id: str
    succeeded_at: Moment | None
    failed_at: Moment | None
    failure: str | None
    failures: int


class Parked(ClosedModel):
    """What a stage could not do, why, and when it is tried again."""

    stage: str
    entity_id: str
    customer_id: str | None
    since: Moment | None
    until: Moment | None
    reason: str
    failures: int
    first_failed_at: Moment
    next_try_at: Moment
