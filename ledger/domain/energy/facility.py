"""Turns device energy into facility energy: device + host + overhead = facility, in integer mJ.

Invariant: facility energy is (device + host) × PUE rounded once, half even; overhead is the rest.
PUE: ISO/IEC 30134-2, facility energy ÷ IT energy.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from ledger.domain.errors import InvalidInputError
from ledger.domain.money import ROUNDING, multiply


@dataclass(frozen=True, slots=True)
class FacilityEnergy:
    """Energy in mJ of the same stretch at three places."""

    device_mj: int
    host_mj: int
    overhead_mj: int

    @property
    def total_mj(self) -> int:
        """What the meter of the site would show."""
        return self.device_mj + self.host_mj + self.overhead_mj


def host_energy_mj(host_mw: int, seconds: int) -> int:
    """Declared energy of the hosts beside the GPUs: milliwatts × seconds are millijoules."""
    return host_mw * seconds


def uplift(device_mj: int, host_mj: int, pue: Decimal) -> FacilityEnergy:
    """Facility energy of a device and its host; InvalidInputError for a PUE below 1."""
    if pue < 1:
        raise InvalidInputError(f"PUE {pue} is below 1.", "PUE is facility energy ÷ IT energy.")
    it_mj = device_mj + host_mj
    facility = multiply(pue, it_mj).quantize(Decimal(1), ROUND_HALF_EVEN, ROUNDING)
    return FacilityEnergy(device_mj, host_mj, int(facility) - it_mj)
