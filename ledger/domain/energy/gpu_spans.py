"""The energy spans that a window's energy is taken from, the same whatever else is asked for.

Where the readings of a board do not simply run on, what they mean is decided from the window and
`AROUND` on either side, so that a window allocated alone, or among others, comes to the same.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from ledger.domain.energy.calibration import Calibration, calibrated
from ledger.domain.energy.counter_course import (
    AROUND,
    NEAR,
    EnergyReading,
    microseconds,
    runs_on,
)
from ledger.domain.energy.meter import EvenSpans, spans
from ledger.domain.energy.span import Span
from ledger.domain.period import WINDOW, Period


class BoardSpans(Protocol):
    """The energy spans of one board, to find a window's by."""

    def within(self, window: Period) -> Sequence[Span]:
        """Spans that touch the window."""


@dataclass(frozen=True, slots=True)
class GpuSpans:
    """The energy spans of one GPU in the order of their starts, to find a window's by."""

    spans: Sequence[Span]
    starts_us: Sequence[int] = field(init=False)
    longest_us: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts_us", [span.start_us for span in self.spans])
        longest = max((span.end_us - span.start_us for span in self.spans), default=0)
        object.__setattr__(self, "longest_us", longest)

    def within(self, window: Period) -> Sequence[Span]:
        """Spans that touch the window."""
        begin = microseconds(window.start)
        first = bisect_left(self.starts_us, begin - self.longest_us)
        last = bisect_right(self.starts_us, microseconds(window.end) - 1)
        return [span for span in self.spans[first:last] if span.end_us > begin]


def even_spans(even: EvenSpans, calibrations: Sequence[Calibration] = ()) -> BoardSpans:
    """Of a board whose counter ran on, for any window."""
    true = calibrated(even, calibrations)
    return even if true is even else GpuSpans(true)


def spans_by_window(
    near: Sequence[EnergyReading],
    around: Sequence[EnergyReading] | None,
    windows: Sequence[datetime],
    calibrations: Sequence[Calibration] = (),
) -> Mapping[datetime, GpuSpans]:
    """Of one GPU: readings in time order, `NEAR` and `AROUND` the windows, each with a neighbour
    beyond either side; `around` is None where those near run on."""
    if around is None:
        shared = GpuSpans(calibrated(spans(near), calibrations))
        return dict.fromkeys(windows, shared)
    return {
        window: GpuSpans(calibrated(spans(_readings_of(near, around, window)), calibrations))
        for window in windows
    }


def _readings_of(
    near: Sequence[EnergyReading], around: Sequence[EnergyReading], window: datetime
) -> Sequence[EnergyReading]:
    close = _within(near, window, NEAR)
    return close if runs_on(close) else _within(around, window, AROUND)


def _within(
    readings: Sequence[EnergyReading], window: datetime, reach: timedelta
) -> Sequence[EnergyReading]:
    first = bisect_left(readings, window - reach, key=_at)
    last = bisect_left(readings, window + WINDOW + reach, key=_at)
    return readings[max(first - 1, 0) : last + 1]


def _at(reading: EnergyReading) -> datetime:
    return reading.sampled_at
