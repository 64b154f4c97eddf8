"""Applies a meter's calibration to what its counter grew: gain, and an offset of power.

Invariant: a span is scaled once, whatever windows it is split over, so that windows add up to it;
energy is never negative.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from ledger.domain.energy.counter_course import microseconds
from ledger.domain.energy.span import Span
from ledger.domain.money import divide_half_even

_NJ_PER_MJ = 1_000_000
# An amount has twelve decimals.
_PARTS = 10**12


@dataclass(frozen=True, slots=True)
class Calibration:
    """True is `gain` times what the counter grew, and `offset_mw` all the while, in a period."""

    gain: Decimal
    offset_mw: int
    valid_from: datetime
    valid_to: datetime | None


def calibrated(spans: Sequence[Span], calibrations: Sequence[Calibration]) -> Sequence[Span]:
    """The spans as the calibration says that holds at their ends; others as they were read."""
    if all(calibration.gain == 1 and not calibration.offset_mw for calibration in calibrations):
        return spans
    return [_calibrated(span, calibrations) for span in spans]


def _calibrated(span: Span, calibrations: Iterable[Calibration]) -> Span:
    for calibration in calibrations:
        until = None if calibration.valid_to is None else microseconds(calibration.valid_to)
        if microseconds(calibration.valid_from) < span.end_us and (
            until is None or span.end_us <= until
        ):
            grown = int(calibration.gain * _PARTS) * span.energy_mj * _NJ_PER_MJ
            # Of a span that is not believed at most a lower bound is known.
            offset = (
                calibration.offset_mw * (span.end_us - span.start_us) * _PARTS if span.known else 0
            )
            true_mj = divide_half_even(grown + offset, _PARTS * _NJ_PER_MJ)
            return replace(span, energy_mj=max(true_mj, 0))
    return span
