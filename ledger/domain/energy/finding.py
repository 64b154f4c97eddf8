"""What was noticed about a GPU's meter, or told of it, and what that means."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from ledger.wire import meter_reasons

# A reason without words of its own is shown as it is called.
MEANINGS: Mapping[str, str] = MappingProxyType(
    dict(meter_reasons.MEANINGS)
    | {
        "counter_reset": "the counter began again; what it showed then is booked as estimated",
        "epoch_changed": "the collector began another epoch of the counter",
        "counter_jump": "the counter rose by more than the board can draw; booked as nothing",
        "counter_frozen": "the counter stood still while the board drew power",
        "power_disagrees": "the counter rose by what the board's own power does not explain",
        "power_doubtful": "for minutes the counter rose by far more or less than the board said it"
        " draws at any time; booked as counted",
        "counter_too_slow": "the counter rose by less than any board draws; does it count joules?",
        "unit_changed": "the counter fell to a thousandth: joules for millijoules; not booked",
        "readings_disagree": "readings that contradict the others of their GPU; left out",
        "clock_step_in_a_gap": "the host's clock was set far in a gap; what was used is not known",
        "host_paused": "the host stood still while the counter ran on; estimated over that time",
        "estimated_by_weights": "no meter says it; estimated by fitted weights and what ran",
        "gap": "too long between two readings; estimated",
    }
)


@dataclass(frozen=True, slots=True)
class MeterFinding:
    """A reason that was noticed in so many quarter hours of a GPU, from the first to the last."""

    gpu_uuid: str
    reason: str
    windows: int
    first_window: datetime
    last_window: datetime

    @property
    def meaning(self) -> str:
        """The reason in words."""
        return MEANINGS.get(self.reason, self.reason)


@dataclass(frozen=True, slots=True)
class MeterGap:
    """What a collector told of a meter: why it gave no reading, or another kind, and from when to
    when; an instant where both are the same."""

    gpu_uuid: str
    reason: str
    since: datetime
    until: datetime
    detail: str | None
    source: str

    @property
    def meaning(self) -> str:
        """The reason in words."""
        return MEANINGS.get(self.reason, self.reason)
