"""The shapes of batches on their way into the books."""

from ledger.wire.answer_fields import ClosedModel, Day, Moment


class OpenBatch(ClosedModel):
    """A batch on its way in; what it is of another role is unknown."""

    batch_seq: int
    pid: int | None
    application: str | None
    waits_for: str | None
    quiet_since: Moment | None
    began_at: Moment | None
    open_s: int | None


class Unsummed(ClosedModel):
    """Batches that no window's sum holds yet: no report goes beyond the first of them."""

    batches: int
    stored_at: Moment | None
    unsummed_s: int | None


class Unmerged(ClosedModel):
    """Days that are over, and of which not all facts are merged."""

    days: int
    first_day: Day | None


class EndedSession(ClosedModel):
    """A session that held a batch, did nothing, and was ended."""

    batch_seq: int
    pid: int
    application: str
    quiet_since: Moment
    ended_at: Moment
