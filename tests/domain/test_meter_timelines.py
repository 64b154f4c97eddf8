"""Any timeline of one board, read by anyone at any time: what is booked against what was used."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.energy.counter_course import NEAR, EnergyReading
from ledger.domain.energy.gpu_spans import spans_by_window
from ledger.domain.energy.meter import energy_between, findings, spans
from ledger.domain.energy.span import Span
from ledger.domain.period import WINDOW, Period, window_start
from tests.support.examples import at_depth

T0 = datetime(2026, 8, 1, 10, tzinfo=UTC)
FAR = [T0 - timedelta(days=400), T0 + timedelta(days=400)]


@dataclass(repr=False)
class Host:
    """The truth: a board that draws power, its counter, the host's clocks, and who reads it."""

    counter_mj: int = 10_800_000_000
    power_mw: int = 300_000
    true_s: int = 0
    used_mj: int = 0
    clock_s: int = 0
    boots: int = 0
    booted_at_s: int = -36_000
    loads: int = 0
    lives: int = 0
    epoch: str = "e0"
    readings: list[EnergyReading] = field(default_factory=list)
    taken: list[tuple[int, int, int]] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Host({self.story})"

    def run(self, seconds: int) -> None:
        self.true_s += seconds
        self.counter_mj += self.power_mw * seconds
        self.used_mj += self.power_mw * seconds

    def read(self, source: str = "one") -> None:
        wall = T0 + timedelta(seconds=self.true_s + self.clock_s)
        self.readings.append(
            EnergyReading(
                wall,
                f"{source}-{self.epoch}",
                self.counter_mj,
                power_mw=self.power_mw,
                source=source,
                boot_id=f"boot-{self.boots}",
                driver_load=f"load-{self.boots}-{self.loads}",
                monotonic_us=(self.true_s - self.booted_at_s) * 1_000_000,
            )
        )
        self.taken.append((self.lives, self.counter_mj, self.used_mj))

    def watch(self, seconds: int, *, every: int = 5, sources: Sequence[str] = ("one",)) -> None:
        for _ in range(seconds // every):
            self.run(every)
            for source in sources:
                self.read(source)

    def begin_again(self, *, boot: bool = False, load: bool = True) -> None:
        self.counter_mj, self.lives = 0, self.lives + 1
        self.loads += load
        if boot:
            self.boots, self.booted_at_s = self.boots + 1, self.true_s

    def proven(self) -> int:
        """What the counter proves between readings that follow each other in one life of it."""
        return sum(b[1] - a[1] for a, b in pairwise(self.taken) if a[0] == b[0])

    @property
    def used(self) -> int:
        """What was used from the first reading to the last."""
        return self.taken[-1][2] - self.taken[0][2]


def booked(found: Sequence[Span]) -> tuple[int, int]:
    (whole,) = energy_between(found, FAR)
    return whole.metered_mj, whole.estimated_mj


# Every example is a timeline of hundreds of readings.
few = settings(max_examples=at_depth(40))
STEPS = ("watch", "away", "long away", "clock", "lost state", "power", "two", "reload", "reboot")


@st.composite
def hosts(draw: st.DrawFn, steps: Sequence[str], clocks: int = 3) -> Host:
    host = Host(counter_mj=draw(st.sampled_from([0, 18_000_000, 10_800_000_000])))
    host.read()
    for step in draw(st.lists(st.sampled_from(steps), min_size=1, max_size=8)):
        if step == "clock" and host.story.count("clock") >= clocks:
            continue
        host.story.append(step)
        for change in changes(draw, step):
            change(host)
        host.watch(draw(st.integers(3, 12)) * 5)
    return host


def changes(draw: st.DrawFn, step: str) -> Iterator[Callable[[Host], None]]:
    seconds = draw(st.integers(1, 55))
    if step == "watch":
        yield lambda host: host.watch(draw(st.integers(1, 40)) * 5)
    if step in {"away", "reload", "reboot"}:
        yield lambda host: host.run(seconds)
    if step == "long away":
        yield lambda host: host.run(draw(st.integers(60, 4_000)))
    if step == "clock":
        set_by = draw(st.sampled_from([-3_600, -600, -7, -2, 2, 30, 3_600]))
        yield lambda host: setattr(host, "clock_s", host.clock_s + set_by)
    if step == "lost state":
        yield lambda host: setattr(host, "epoch", f"e{len(host.readings)}")
    if step == "power":
        yield lambda host: setattr(host, "power_mw", draw(st.integers(50_000, 700_000)))
    if step == "two":
        yield lambda host: host.watch(60, sources=("one", "two"))
    if step in {"reload", "reboot"}:
        yield lambda host: host.begin_again(boot=step == "reboot")
        yield lambda host: host.run(draw(st.integers(0, 30)))


@few
@given(hosts(STEPS[:7]))
def test_what_the_counter_proves_is_booked_to_the_millijoule(host: Host) -> None:
    assert host.proven() == host.used
    metered, estimated = booked(spans(host.readings))
    assert metered + estimated == host.used


@few
@given(hosts(STEPS))
def test_across_any_border_no_more_is_booked_than_was_used(host: Host) -> None:
    metered, estimated = booked(spans(host.readings))
    assert metered <= host.proven() <= metered + estimated <= host.used


def test_a_clock_set_back_between_two_reboots_leaves_nothing_out() -> None:
    host = Host()
    host.read()
    host.watch(230)
    for set_by in (-600, 0):
        host.run(40)
        host.begin_again(boot=True)
        host.watch(60)
        host.clock_s += set_by
        host.watch(240)
    metered, estimated = booked(spans(host.readings))
    assert metered <= host.proven() <= metered + estimated <= host.used
    assert "readings_disagree" not in findings(spans(host.readings))


@few
@given(hosts(STEPS), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(host: Host, rng: object) -> None:
    shuffled = host.readings * 2
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert spans(shuffled) == spans(host.readings)


@few
@given(hosts(STEPS[:6], clocks=1))
def test_windows_allocated_alone_add_up_to_the_whole(host: Host) -> None:
    assert host.used - hidden(host) <= booked_alone(host.readings) <= host.used


def hidden(host: Host) -> int:
    """What was used while the clock was set back so far that no window near has a reading of
    before."""
    return sum(
        b.energy_mj - a.energy_mj
        for a, b in pairwise(host.readings)
        if a.sampled_at - b.sampled_at > NEAR
    )


def booked_alone(readings: Sequence[EnergyReading]) -> int:
    ordered = sorted(readings, key=lambda one: (one.sampled_at, one.energy_mj))
    first, last = (window_start(ordered[n].sampled_at) for n in (0, -1))
    windows = [first + n * WINDOW for n in range(-1, (last - first) // WINDOW + 2)]
    found = spans_by_window(ordered, ordered, windows)
    total = 0
    for window in windows:
        (part,) = energy_between(
            found[window].within(Period(window, window + WINDOW)), [window, window + WINDOW]
        )
        total += part.total_mj
    return total


def test_windows_that_end_within_a_long_absence_book_it_once_though_a_clock_was_set_back() -> None:
    host = Host(counter_mj=0)
    host.read()
    host.run(1_380)
    host.watch(60)
    host.clock_s = -600
    host.watch(60)
    assert booked_alone(host.readings) == host.used


def test_an_absence_is_booked_once_though_a_clock_is_set_back_over_it_later() -> None:
    host = Host()
    host.read()
    for away, set_by in ((3_602, 0), (2_075, -3_600), (2_907, 0)):
        host.run(away)
        host.watch(50)
        host.clock_s += set_by
        host.watch(50)
    # Beyond what a window of the first absence reads, and not as far as the old clock had come.
    host.watch(200)
    assert host.used - hidden(host) <= booked_alone(host.readings) <= host.used


@pytest.mark.parametrize("seconds", range(15, 65, 5))
@pytest.mark.parametrize("idle", [0, 10, 30])
@pytest.mark.parametrize(("counter_mj", "before"), [(0, 20), (18_000_000, 0), (9_000_000, 5)])
def test_a_young_counter_that_is_loaded_again_proves_all_that_it_counted(
    counter_mj: int, before: int, idle: int, seconds: int
) -> None:
    host = Host(counter_mj=counter_mj)
    host.read()
    host.watch(before)
    host.begin_again()
    host.run(idle)
    host.watch(seconds)
    metered, estimated = booked(spans(host.readings))
    assert metered == host.proven() <= metered + estimated <= host.used


def test_a_clock_set_back_over_a_reboot_books_nothing_twice() -> None:
    host = Host(counter_mj=0)
    host.read()
    host.run(9)
    host.begin_again(boot=True)
    host.watch(40)
    host.run(1_000)
    host.watch(20)
    host.clock_s = -600
    host.watch(15)
    metered, estimated = booked(spans(host.readings))
    assert metered <= host.proven() <= metered + estimated <= host.used


def test_a_clock_set_back_an_hour_moves_no_energy() -> None:
    host = Host()
    host.read()
    host.watch(600)
    host.clock_s = -3_600
    host.watch(600)
    found = spans(host.readings)
    assert booked(found) == (1_200 * 300_000, 0)
    assert findings(found) == ["clock_step"]


def test_a_renamed_epoch_is_no_border() -> None:
    host = Host()
    host.read()
    host.watch(60)
    host.epoch = "lost"
    host.watch(60)
    assert booked(spans(host.readings)) == (120 * 300_000, 0)
    assert findings(spans(host.readings)) == []


def test_a_driver_reload_that_passed_the_old_value_is_a_lower_bound() -> None:
    host = Host(counter_mj=0)
    host.read()
    host.watch(10)
    host.run(10)
    host.begin_again()
    host.run(40)
    host.read()
    found = spans(host.readings)
    assert booked(found) == (10 * 300_000, 30 * 300_000), "some counters run on all the same"
    assert findings(found) == ["driver_reload"]


def test_a_reboot_is_a_lower_bound_whatever_the_clock_of_either_boot_said() -> None:
    host = Host()
    host.read()
    host.watch(10)
    host.begin_again(boot=True)
    host.run(40)
    host.read()
    host.watch(10)
    found = spans(host.readings)
    assert booked(found) == (20 * 300_000, 40 * 300_000)
    assert findings(found) == ["reboot"]
