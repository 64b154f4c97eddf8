"""A board whose true energy is known, read under faults: never more is booked than was used.

The truth is a list of watts by second; what a counter shows is its running sum, and what a fault
does to the readings is done here, by arithmetic of its own.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import accumulate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.energy.counter_course import EnergyReading
from ledger.domain.energy.meter import energy_between, findings, spans

T0 = datetime(2026, 8, 1, 10, tzinfo=UTC)
LIFE = 10_800_000_000


def load(seed: int, seconds: int) -> list[int]:
    """A board between idle and full load, changing every few seconds."""
    rng = Random(seed)
    return [rng.randint(20, 700) if rng.random() < 0.2 else 350 for _ in range(seconds)]


WATTS = st.builds(load, st.integers(0, 10**6), st.integers(120, 600))


def counter(watts: list[int], *, before: int = 0) -> list[int]:
    """What the counter shows at each second, in mJ."""
    return list(accumulate((w * 1_000 for w in watts), initial=before))


def read(
    shown: list[int], seconds: range, *, epoch: str = "a", source: str = "/h", clock_s: int = 0
) -> list[EnergyReading]:
    return [
        EnergyReading(T0 + timedelta(seconds=s + clock_s), epoch, shown[s], "good", None, source)
        for s in seconds
    ]


def booked(readings: list[EnergyReading]) -> tuple[int, int, list[str]]:
    found = spans(readings)
    edges = [T0 - timedelta(days=2), T0 + timedelta(days=2)]
    (energy,) = energy_between(found, edges)
    return energy.metered_mj, energy.estimated_mj, findings(found)


@given(WATTS, st.sampled_from([0, 3_000_000, LIFE]), st.integers(1, 30))
def test_a_lost_state_file_changes_no_energy(watts: list[int], before: int, step: int) -> None:
    shown = counter(watts, before=before)
    away = len(watts) // 3
    readings = [
        *read(shown, range(0, away, step)),
        *read(shown, range(2 * away, len(watts), step), epoch="b"),
    ]
    metered, estimated, found = booked(readings)
    assert metered + estimated == readings[-1].energy_mj - readings[0].energy_mj
    assert found == ["epoch_changed"]
    assert estimated == readings[away and -len(range(2 * away, len(watts), step))].energy_mj - max(
        one.energy_mj for one in readings if one.epoch == "a"
    )


@given(
    WATTS,
    st.sampled_from([0, 3_000_000, LIFE]),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(-3, 3),
)
def test_two_collectors_of_one_board_count_its_energy_once(
    watts: list[int], before: int, one_s: int, other_s: int, skew_s: int
) -> None:
    shown = counter(watts, before=before)
    one = read(shown, range(0, len(watts), one_s), epoch="A", source="/h/a")
    other = read(shown, range(1, len(watts), other_s), epoch="B", source="/h/b", clock_s=skew_s)
    metered, estimated, _ = booked(one + other)
    used = shown[len(watts) - 1] - shown[0]
    assert metered + estimated <= used
    # Two clocks differ by `skew_s`, so that as many seconds at either end are open.
    assert metered + estimated >= used - 700_000 * (2 * abs(skew_s) + 2 * max(one_s, other_s))


@given(
    WATTS,
    st.sampled_from([0, 3_000_000, LIFE]),
    st.integers(1, 5),
    st.integers(11, 60),
    st.sampled_from([-1, 1]),
)
def test_two_collectors_whose_clocks_are_far_apart_count_nothing_twice(
    watts: list[int], before: int, step: int, apart_s: int, ahead: int
) -> None:
    shown = counter(watts, before=before)
    one = read(shown, range(0, len(watts), step), epoch="A", source="/h/a")
    skew_s = ahead * apart_s
    other = read(shown, range(1, len(watts), step), epoch="B", source="/h/b", clock_s=skew_s)
    metered, estimated, found = booked(one + other)
    used = shown[len(watts) - 1] - shown[0]
    assert used - 700_000 * 2 * (apart_s + step) <= metered + estimated <= used
    assert "readings_disagree" in found


@given(WATTS, st.sampled_from([0, 3_000_000, LIFE]), st.integers(2, 7_200), st.integers(1, 5))
def test_a_clock_set_back_changes_no_energy(
    watts: list[int], before: int, back_s: int, step: int
) -> None:
    shown = counter(watts, before=before)
    half = len(watts) // 2
    readings = [
        *read(shown, range(0, half, step)),
        *read(shown, range(half, len(watts), step), clock_s=-back_s),
    ]
    metered, estimated, found = booked(readings)
    used = readings[-1].energy_mj - readings[0].energy_mj
    assert metered + estimated <= used
    if back_s > len(watts):
        assert metered + estimated == used
        assert found == ["clock_step"]


@given(WATTS, st.sampled_from([0, 3_000_000, LIFE]), st.integers(0, 300))
def test_a_reset_books_no_more_than_the_new_counter_proves(
    watts: list[int], before: int, lost_s: int
) -> None:
    half = len(watts) // 2
    old, new = counter(watts[:half], before=before), counter(watts[half:])
    readings = [
        *read(old, range(half)),
        *read(new, range(min(lost_s, len(new) - 1), len(new)), epoch="b", clock_s=half),
    ]
    metered, estimated, _ = booked(readings)
    assert metered + estimated <= sum(watts) * 1_000
    assert metered <= old[half - 1] - old[0] + new[-1]


@given(WATTS, st.sampled_from([3_000_000, LIFE]), st.integers(10, 90), st.sampled_from([0, 2**40]))
def test_zeros_and_absurd_values_in_between_are_named_and_change_no_energy(
    watts: list[int], before: int, at_s: int, value: int
) -> None:
    shown = counter(watts, before=before)
    readings = read(shown, range(len(watts)))
    for s in range(at_s, at_s + 10):
        readings[s] = EnergyReading(readings[s].sampled_at, "a", value, "good", None, "/h")
    metered, estimated, found = booked(readings)
    assert metered + estimated <= shown[len(watts) - 1] - shown[0]
    assert found


def test_a_counter_that_stands_still_is_not_measured_energy() -> None:
    readings = [
        EnergyReading(T0 + timedelta(seconds=s), "a", LIFE, "good", 350_000)
        for s in range(0, 900, 10)
    ]
    found = spans(readings)
    (energy,) = energy_between(found, [T0, T0 + timedelta(minutes=15)])
    assert (energy.total_mj, energy.covered_us) == (0, 0)
    assert findings(found) == ["counter_frozen"]


def test_a_board_that_says_it_draws_nothing_may_stand_still() -> None:
    readings = [
        EnergyReading(T0 + timedelta(seconds=s), "a", LIFE, "good", 0) for s in range(0, 900, 10)
    ]
    found = spans(readings)
    assert findings(found) == []
    assert energy_between(found, [T0, T0 + timedelta(seconds=890)])[0].covered_us == 890_000_000


def test_what_a_frozen_counter_catches_up_is_a_lower_bound() -> None:
    still = [EnergyReading(T0 + timedelta(seconds=s), "a", LIFE) for s in range(0, 300, 10)]
    moved = EnergyReading(T0 + timedelta(seconds=300), "a", LIFE + 90_000_000)
    found = spans([*still, moved])
    (energy,) = energy_between(found, [T0, T0 + timedelta(minutes=15)])
    assert (energy.metered_mj, energy.estimated_mj) == (0, 90_000_000)
    assert findings(found) == ["counter_frozen"]


def said_to_draw(watts: list[int], times: Fraction, *, step: int = 5) -> list[EnergyReading]:
    """Readings of a board whose power is right, and whose counter shows so many times of it."""
    shown = [int(energy_mj * times) for energy_mj in counter(watts)]
    return [
        EnergyReading(T0 + timedelta(seconds=s), "a", LIFE + shown[s], power_mw=watts[s] * 1_000)
        for s in range(0, len(watts), step)
    ]


@given(WATTS, st.integers(1, 20))
def test_a_counter_within_what_its_board_says_it_draws_is_believed(
    watts: list[int], step: int
) -> None:
    assert findings(spans(said_to_draw(watts, Fraction(1), step=step))) == []


def shown_anew(
    watts: list[int], refresh: int, seconds: range, *, says_power: bool
) -> list[EnergyReading]:
    """What an exporter shows that looks at its board once in so many seconds."""
    looks = ((s, s - s % refresh) for s in seconds)
    return [
        EnergyReading(
            T0 + timedelta(seconds=s),
            "a",
            counter(watts, before=LIFE)[looked],
            power_mw=watts[looked] * 1_000 if says_power else None,
        )
        for s, looked in looks
    ]


@given(
    st.lists(st.integers(80, 700), min_size=130, max_size=200),
    st.integers(1, 60),
    st.sampled_from([1, 2, 7]),
    st.booleans(),
)
def test_an_exporter_that_looks_now_and_then_loses_no_energy(
    watts: list[int], refresh: int, step: int, says_power: bool
) -> None:
    readings = shown_anew(watts, refresh, range(0, len(watts), step), says_power=says_power)
    grown = readings[-1].energy_mj - readings[0].energy_mj
    assert booked(readings) == (grown, 0, [])


@given(st.integers(80, 700), st.integers(2, 60), st.integers(1, 2), st.data())
def test_what_an_exporter_shows_was_used_all_the_while(
    watts: int, refresh: int, readers: int, data: st.DataObject
) -> None:
    read = shown_anew([watts] * 181, refresh, range(181), says_power=data.draw(st.booleans()))
    both = [replace(each, source=f"/{n}") for each in read for n in range(readers)]
    edges = [T0 + timedelta(seconds=s) for s in range(121 - 120 % refresh)]
    assert {each.metered_mj for each in energy_between(spans(both), edges)} == {watts * 1_000}


def test_a_first_look_that_is_old_books_what_power_says() -> None:
    readings = shown_anew([150] * 62, 30, range(29, 61), says_power=True)
    assert booked(readings) == (4_500_000, 150_000, ["power_disagrees"])


@given(st.integers(80, 190), st.integers(1, 60), st.sampled_from([Fraction(1, 25), Fraction(25)]))
def test_an_exporter_in_another_unit_is_noticed_however_seldom_it_looks(
    watts: int, refresh: int, factor: Fraction
) -> None:
    readings = shown_anew([watts] * 121, refresh, range(121), says_power=True)
    wrong = [replace(each, energy_mj=int((each.energy_mj - LIFE) * factor)) for each in readings]
    assert "power_disagrees" in findings(spans(wrong))


@pytest.mark.parametrize(
    ("times", "doubtful"),
    [(2, True), (15, True), (Fraction(1, 2), True), (Fraction(13, 10), False), (1, False)],
)
def test_a_counter_that_is_a_multiple_of_what_its_board_says_it_draws_is_told(
    times: Fraction, doubtful: bool
) -> None:
    readings = said_to_draw([350] * 901, Fraction(times))
    found = spans(readings)
    assert findings(found) == (["power_doubtful"] if doubtful else [])
    # Which of the two is wrong nobody can say.
    (energy,) = energy_between(found, [T0, T0 + timedelta(minutes=15)])
    assert energy.metered_mj == readings[-1].energy_mj - LIFE
    assert energy.covered_us == 900_000_000


def test_joules_taken_for_millijoules_are_found_by_power() -> None:
    readings = [
        EnergyReading(T0 + timedelta(seconds=s), "a", LIFE + s * 350, "good", 350_000)
        for s in range(0, 100, 10)
    ]
    found = spans(readings)
    assert findings(found) == ["power_disagrees"]
    assert energy_between(found, [T0, T0 + timedelta(seconds=90)])[0].covered_us == 0


@given(WATTS, st.sampled_from([600, 950, 1_000, 10_000]), st.sampled_from([True, False]))
def test_joules_for_millijoules_are_noticed_however_often_they_are_read(
    watts: list[int], step_ms: int, says_power: bool
) -> None:
    shown = counter(watts, before=LIFE)
    power_mw = 350_000 if says_power else None
    readings = [
        EnergyReading(
            T0 + timedelta(milliseconds=at_ms),
            "a",
            shown[at_ms // 1_000] // 1_000,
            power_mw=power_mw,
        )
        for at_ms in range(0, len(watts) * 1_000, step_ms)
    ]
    metered, _, found = booked(readings)
    # A board may rest for a second: what no load explains is not measured.
    assert metered * 100 <= shown[-1] - LIFE
    # As a whole it is doubted besides, where a course is long enough.
    told = set(found) - {"power_doubtful"}
    assert told == {"power_disagrees" if says_power else "counter_too_slow"}
