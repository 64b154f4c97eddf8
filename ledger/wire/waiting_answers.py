"""The shapes of what waits, and of what was decided about it."""

from typing import Any, Literal

from ledger.wire.answer_fields import ClosedModel, Moment, Number


class Quarantined(ClosedModel):
    """An item that could not be read, and why; `items` is how many it stands for."""

    quarantine_id: int
    source: str
    event_id: str | None
    reason: str
    detail: str
    received_at: Moment
    items: int


class Suspended(ClosedModel):
    """What waits under a name that nobody knows."""

    customer_ref: str
    first_window: Moment
    last_window: Moment
    requests: int
    input_tokens: int
    output_tokens: int


class Unpriced(ClosedModel):
    """Usage of the days that begin at `first_day` to `last_day` that waits for a price, and why."""

    customer_id: str
    model: str
    tier: str
    meter: str
    reason: str
    quantity: int
    first_day: Moment
    last_day: Moment


class UnpricedOfEntity(Unpriced):
    """Usage of an entity that waits for a price, and why."""

    entity_id: str


class Released(ClosedModel):
    """How much was booked to the customer a name now is."""

    customer_ref: str
    released: int


class Dismissed(ClosedModel):
    """An item that no longer waits."""

    quarantine_id: int
    dismissed: int


class Decided(Suspended):
    """What waited under a name, and does no longer."""


class Conflict(ClosedModel):
    """Other content under an identity that was taken, and how it was resolved."""

    conflict_id: int
    source: str
    event_id: str | None
    items: int
    batch_seq: int
    ordinal: int
    stored_batch_seq: int
    stored_ordinal: int
    offer_kept: bool
    expires_at: Moment | None
    resolution: Literal["kept", "corrected", "resent"] | None
    resolved_by: str | None
    reason: str | None
    resolved_at: Moment | None


class StoredUsage(ClosedModel):
    """An attempt as it is stored; an unknown count is null."""

    batch_seq: int
    ordinal: int
    event_id: str | None
    time: Moment
    started_at: Moment | None
    first_token_at: Moment | None
    ended_at: Moment | None
    customer_ref: str
    project_id: str
    api_key_id: str
    agent_id: str
    tier: str
    model: str
    adapter: str
    region: str
    engine_instance: str
    requests: int
    uncached: int | None
    cache_read: int | None
    cache_write: int | None
    visible: int | None
    reasoning: int | None


class StoredReading(ClosedModel):
    """A reading as it is stored."""

    batch_seq: int
    ordinal: int
    gpu_uuid: str
    epoch: str
    sampled_at: Moment
    energy_mj: int
    power_mw: int | None
    method: str
    quality: str


class StoredCounter(ClosedModel):
    """A counter of an engine as it is stored."""

    batch_seq: int
    ordinal: int
    engine: str
    engine_instance: str
    run_id: str
    scraped_at: Moment
    metric: str
    labels: dict[str, str]
    value: Number


class StoredGap(ClosedModel):
    """A stretch without readings as it is stored, and why."""

    batch_seq: int
    ordinal: int
    gpu_uuid: str
    reason: str
    since: Moment
    until: Moment
    detail: str | None


class WholeConflict(Conflict):
    """A conflict with what is stored, and what was offered as it came (null: no longer kept)."""

    form: Literal["sequenced", "keyed"]
    truncated: bool | None
    stored: list[StoredUsage | StoredReading | StoredCounter | StoredGap]
    offered: list[dict[str, Any]] | None


class Resolved(ClosedModel):
    """Which side of a conflict it was, and what became of the events that this led to."""

    conflict_id: int
    resolution: Literal["kept", "corrected", "resent"]
    events: list[str]
