"""Power into energy by the trapezoid rule, for boards and meters that have no energy counter.

Between two readings the power is taken to run straight from one to the other; over a longer gap
nobody knows, and nothing is added. A meter of its own: estimated, and less certain than a counter.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from collectors.sources.host_clock import SILENCE_US

_TWICE_A_MJ = 2_000_000
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def microseconds_of(moment: datetime) -> int:
    """Since 1970, exact."""
    return (moment - _EPOCH) // _MICROSECOND


@dataclass(slots=True)
class PowerIntegral:
    """Energy in mJ since the first reading; what is less than one waits for the next."""

    silence_us: int = SILENCE_US
    energy_mj: int = 0
    _rest: int = 0
    _power_mw: int | None = None
    _at_us: int = 0

    def add(self, power_mw: int, at_us: int) -> int:
        """Take a reading of power; returns the energy so far."""
        elapsed_us = at_us - self._at_us
        if self._power_mw is not None and 0 < elapsed_us <= self.silence_us:
            # mW x us x 2 to mJ, exact.
            whole = self._rest + (self._power_mw + power_mw) * elapsed_us
            self.energy_mj += whole // _TWICE_A_MJ
            self._rest = whole % _TWICE_A_MJ
        self._power_mw, self._at_us = power_mw, at_us
        return self.energy_mj
