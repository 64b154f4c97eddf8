"""The energy spans that a window's energy is taken from, the same whatever else is asked for.

Where the readings of a board do not simply run on, what they mean is decided from the window and
`AROUND` on either side, so that a window allocated alone, or among others, comes to the same.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ledger.domain.counter_course import AROUND, EnergyReading, microseconds, runs_on
from ledger.domain.meter import Span, spans
from ledger.domain.period import WINDOW, Period


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


def spans_by_window(
    readings: Sequence[EnergyReading], windows: Sequence[datetime]
) -> Mapping[datetime, GpuSpans]:
    """Of one GPU: `readings` in time order, with `AROUND` and a neighbour beyond it either side."""
    if runs_on(readings):
        shared = GpuSpans(spans(readings))
        return dict.fromkeys(windows, shared)
    times = [reading.sampled_at for reading in readings]
    return {window: GpuSpans(spans(_around(readings, times, window))) for window in windows}


def _around(
    readings: Sequence[EnergyReading], times: Sequence[datetime], window: datetime
) -> Sequence[EnergyReading]:
    first = bisect_left(times, window - AROUND)
    last = bisect_left(times, window + WINDOW + AROUND)
    return readings[max(first - 1, 0) : last + 1]
