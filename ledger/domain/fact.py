"""Facts as they are stored, what kinds there are, and what can become of a received event."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntFlag, StrEnum


class Fate(StrEnum):
    """What became of a received event; every one has exactly one."""

    COUNTED = "counted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    QUARANTINED = "quarantined"
    SUPERSEDED = "superseded"
    SUSPENSE = "suspense"


ORIGINAL, REVERSAL, REPLACEMENT, RELEASE = 1, 2, 3, 4


class Flag(IntFlag):
    """Bits of `usage_fact.flags`."""

    SPLIT_UNKNOWN = 1
    INCOMPLETE = 2
    INPUT_UNKNOWN = 4
    OUTPUT_UNKNOWN = 8
    ABORTED = 16
    FAILED = 32
    STREAM = 64
    # Where the tier served comes from; none of the three: the event said it.
    TIER_FROM_KEY = 256
    TIER_FROM_DEPLOYMENT = 512
    TIER_FROM_DEFAULT = 1024


@dataclass(frozen=True, slots=True)
class Tokens:
    """The five disjoint leaves of a fact, in tokens; negative in a reversal."""

    uncached: int
    cache_read: int
    cache_write: int
    visible: int
    reasoning: int

    def __neg__(self) -> "Tokens":
        return Tokens(
            -self.uncached, -self.cache_read, -self.cache_write, -self.visible, -self.reasoning
        )

    @property
    def output(self) -> int:
        """Visible and reasoning tokens."""
        return self.visible + self.reasoning


@dataclass(frozen=True, slots=True)
class Usage:
    """One attempt (or `requests` summed ones) as decoded: what the event says, nothing resolved."""

    time: datetime
    started_at: datetime | None
    first_token_at: datetime | None
    ended_at: datetime | None
    requests: int
    tokens: Tokens
    flags: Flag
    customer_ref: str
    project_id: str
    api_key_id: str
    agent_id: str
    tier: str
    model: str
    adapter: str
    region: str
    context_tokens: int
    engine_instance: str
    agent_run_id: str
    end_user_id: str
    provider_amount: Decimal | None = None
    provider_currency: str = ""


@dataclass(frozen=True, slots=True)
class Correction:
    """A usage that replaces the event `target` of `target_source`, as its `revision`."""

    usage: Usage
    target_source: str
    target: str
    revision: int


@dataclass(frozen=True, slots=True)
class GpuReading:
    """A raw cumulative energy counter in mJ."""

    gpu_uuid: str
    epoch: str
    sampled_at: datetime
    energy_mj: int
    power_mw: int | None
    method: str
    quality: str


@dataclass(frozen=True, slots=True)
class CounterReading:
    """One raw cumulative counter of an inference server; `labels` sorted."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    value: Decimal
    precision_loss: bool


@dataclass(frozen=True, slots=True)
class Scrape:
    """All counters of one engine instance at one moment."""

    engine: str
    engine_instance: str
    run_id: str
    run_started_at: datetime | None
    scraped_at: datetime
    counters: tuple[CounterReading, ...]


Content = Usage | Correction | GpuReading | Scrape
