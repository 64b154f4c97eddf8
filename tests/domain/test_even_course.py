"""Boards whose counters simply ran on: found in columns, they come to what their spans come to."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.energy.counter_course import EnergyReading, microseconds
from ledger.domain.energy.even_course import ReadingColumns, even_boards
from ledger.domain.energy.meter import energy_between, findings, spans
from ledger.domain.period import EPOCH, MICROSECOND, Period
from tests.domain.test_meter_timelines import STEPS, T0, Host, hosts
from tests.support.examples import at_depth

QUALITIES = ("good", "good", "good", "suspect")


def columns(readings: Sequence[EnergyReading], board: int = 1) -> ReadingColumns:
    """What the store gives of one board."""
    said = [
        (
            board,
            microseconds(each.sampled_at),
            each.energy_mj,
            -1 if each.power_mw is None else each.power_mw,
            -1 if each.monotonic_us is None else each.monotonic_us,
            hash((each.source, each.epoch, each.boot_id, each.driver_load)),
            int(each.quality == "good"),
            0,
        )
        for each in readings
    ]
    return ReadingColumns(*np.array(said, np.int64).reshape(-1, 8).T)


@st.composite
def courses(draw: st.DrawFn) -> list[EnergyReading]:
    """Readings of a counter that runs on, but for what is drawn to be odd about them."""
    readings, at_us, energy_mj = [], 0, draw(st.integers(0, 10**12))
    odd = draw(st.sampled_from([0, 0, 30]))
    for _ in range(draw(st.integers(1, 40))):
        strange = draw(st.integers(0, 99)) < odd
        took_us = draw(st.integers(0, 90_000_000) if strange else st.integers(1, 60_000_000))
        power_mw = draw(st.integers(0, 2_000_000) if strange else st.integers(2_000, 700_000))
        at_us += took_us
        energy_mj += power_mw * took_us // 1_000_000 - (draw(st.integers(0, 1)) if strange else 0)
        said = draw(st.sampled_from([None, power_mw, 0, 1, 2**40])) if strange else power_mw
        quality = draw(st.sampled_from(QUALITIES)) if strange else "good"
        at = T0 + timedelta(microseconds=at_us)
        readings.append(EnergyReading(at, "e", max(energy_mj, 0), quality, said))
    return readings


def holds(readings: Sequence[EnergyReading], edges_us: Sequence[int]) -> bool:
    """Whether the board was found; if it was, it comes to the same."""
    even = even_boards(columns(readings)).get(1)
    if even is None:
        return False
    known = spans(readings)
    assert list(even) == known
    assert findings(even) == findings(known) == []
    edges = [EPOCH + edge * MICROSECOND for edge in sorted(edges_us)]
    assert energy_between(even, edges) == energy_between(known, edges)
    window = Period(edges[0], edges[-1] + MICROSECOND)
    touching = [each for each in known if each.end_us > microseconds(window.start)]
    touching = [each for each in touching if each.start_us < microseconds(window.end)]
    assert list(even.within(window)) == touching
    return True


def edges_of(data: st.DataObject, readings: Sequence[EnergyReading]) -> list[int]:
    read = sorted(microseconds(each.sampled_at) for each in readings)
    first, last = read[0], read[-1]
    return data.draw(st.lists(st.integers(first - 10**6, last + 10**6), min_size=2, max_size=9))


@settings(max_examples=at_depth(150))
@given(courses(), st.data())
def test_a_board_that_is_found_comes_to_its_spans(
    readings: list[EnergyReading], data: st.DataObject
) -> None:
    holds(readings, edges_of(data, readings))


@settings(max_examples=at_depth(40))
@given(hosts(STEPS), st.data())
def test_of_a_board_with_more_to_be_said_nothing_is_found(host: Host, data: st.DataObject) -> None:
    holds(host.readings, edges_of(data, host.readings))


@given(st.integers(2_000, 700_000), st.integers(1, 59), st.integers(2, 30))
def test_a_counter_that_runs_on_is_found(power_mw: int, every: int, count: int) -> None:
    host = Host(power_mw=power_mw)
    for _ in range(count):
        host.run(every)
        host.read()
    assert holds(host.readings, [0, microseconds(T0), microseconds(T0) + 10**9])


@given(
    st.lists(st.integers(100_000, 700_000), min_size=130, max_size=200),
    st.integers(1, 70),
    st.integers(0, 69),
    st.integers(0, 9),
)
def test_a_counter_that_is_shown_anew_now_and_then_comes_to_its_spans(
    powers_mw: list[int], refresh: int, begin: int, odd: int
) -> None:
    shown = list(accumulate(powers_mw, initial=10**12))
    readings = []
    for second in range(begin, len(powers_mw)):
        looked = second - second % refresh
        said = None if odd and second % 50 == odd else powers_mw[looked]
        at = T0 + timedelta(seconds=second)
        readings.append(EnergyReading(at, "e", shown[looked], "good", said))
    even = holds(readings, [0, microseconds(T0), microseconds(T0) + 10**9])
    assert even or refresh > 1, "shown anew each second it simply runs on"
    if not begin % refresh and refresh <= 60:
        assert even


@given(
    st.lists(st.integers(2_000, 700_000), min_size=1, max_size=40),
    st.integers(1, 60_000_000),
    st.integers(1, 60),
)
def test_a_board_whose_power_makes_its_counter_doubtful_is_not_found(
    powers_mw: list[int], every_us: int, sixths: int
) -> None:
    readings, energy_mj = [], 10**12
    for number, power_mw in enumerate(powers_mw):
        at = T0 + timedelta(microseconds=number * every_us)
        readings.append(EnergyReading(at, "e", energy_mj, "good", power_mw))
        energy_mj += power_mw * every_us * sixths // 6_000_000
    doubted = "power_doubtful" in findings(spans(readings))
    assert not (holds(readings, [0, microseconds(T0), microseconds(T0) + 10**9]) and doubted)


def test_boards_are_told_apart() -> None:
    host, other = Host(), Host(counter_mj=5)
    for each in (host, other):
        each.watch(60)
    other.begin_again()
    other.watch(60)
    parts = [columns(host.readings, 2), columns(other.readings, 1), columns(host.readings[:1], 3)]
    names = ReadingColumns.__slots__
    both = ReadingColumns(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))
    assert {board: len(found) for board, found in even_boards(both).items()} == {2: 11}
