"""Energy between two neighbouring readings, and why it may be other than it seems."""

from dataclasses import dataclass

JUMP = "counter_jump"
FROZEN = "counter_frozen"
DISAGREES = "power_disagrees"
DOUBTFUL = "power_doubtful"
LEFT_OUT = "readings_disagree"
TOO_SLOW = "counter_too_slow"
UNIT = "unit_changed"
CLOCK_STEP = "clock_step"
CLOCK_LOST = "clock_step_in_a_gap"
DRIVER_RELOAD = "driver_reload"
REBOOT = "reboot"
PAUSED = "host_paused"
RESET = "counter_reset"
# No meter says it: what ran does, by fitted weights.
BY_WEIGHTS = "estimated_by_weights"
_UNBELIEVED = frozenset({JUMP, FROZEN, DISAGREES, LEFT_OUT, TOO_SLOW, UNIT, CLOCK_LOST, BY_WEIGHTS})
# What a counter showed before it began again is lost.
_BEGUN_AGAIN = frozenset({RESET, DRIVER_RELOAD, REBOOT})


@dataclass(frozen=True, slots=True)
class Span:
    """Energy between two neighbouring readings, spread evenly over the time between them."""

    start_us: int
    end_us: int
    energy_mj: int
    metered: bool
    finding: str | None = None

    @property
    def known(self) -> bool:
        """Whether a meter says its energy; of a suspect span at most a lower bound is known."""
        return self.finding not in _UNBELIEVED

    @property
    def at_least(self) -> bool:
        """Whether more may have been used than it says."""
        return not self.known or self.finding in _BEGUN_AGAIN
