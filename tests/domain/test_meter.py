from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.energy.counter_course import EnergyReading
from ledger.domain.energy.meter import energy_between, findings, spans

T0 = datetime(2024, 10, 27, tzinfo=UTC)


def at(seconds: int, energy_mj: int, epoch: str = "a", quality: str = "good") -> EnergyReading:
    return EnergyReading(T0 + timedelta(seconds=seconds), epoch, energy_mj, quality)


def moments(*seconds: int) -> list[datetime]:
    return [T0 + timedelta(seconds=second) for second in seconds]


@st.composite
def streams(draw: st.DrawFn, least: int = 1_000) -> list[EnergyReading]:
    readings, second, energy = [], 0, draw(st.integers(0, 10**12))
    for _ in range(draw(st.integers(2, 30))):
        readings.append(at(second, energy))
        elapsed = draw(st.integers(1, 50))
        second += elapsed
        energy += draw(st.integers(least * elapsed, 700_000 * elapsed))
    return readings


@given(streams(), st.lists(st.integers(-100, 2000), max_size=20))
def test_windows_telescope_whatever_the_edges(
    readings: list[EnergyReading], inner: list[int]
) -> None:
    edges = moments(*sorted([-200, 3000, *inner]))
    slices = energy_between(spans(readings), edges)
    grown = readings[-1].energy_mj - readings[0].energy_mj
    assert sum(s.metered_mj for s in slices) == grown
    assert sum(s.estimated_mj for s in slices) == 0


@given(streams(), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(readings: list[EnergyReading], rng: object) -> None:
    shuffled = readings * 2
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert spans(shuffled) == spans(readings)


def test_a_reset_is_never_subtracted_across_and_its_gap_is_estimated() -> None:
    found = spans([at(0, 5_000_000), at(10, 5_030_000), at(40, 700, "b"), at(50, 90_700, "b")])
    (energy,) = energy_between(found, moments(0, 50))
    assert (energy.metered_mj, energy.estimated_mj) == (30_000 + 90_000, 700)
    assert findings(found) == ["counter_reset"]


def test_a_fall_inside_an_epoch_is_an_unnoticed_reset() -> None:
    (span,) = spans([at(0, 5_000_000), at(10, 300)])
    assert (span.energy_mj, span.metered, span.finding) == (300, False, "counter_reset")


def test_a_long_gap_is_estimated_and_keeps_its_energy() -> None:
    (span,) = spans([at(0, 0), at(61, 610_000)])
    assert (span.energy_mj, span.metered, span.finding) == (610_000, False, "gap")


def test_a_jump_above_the_power_limit_is_reported_and_not_booked() -> None:
    (span,) = spans([at(0, 0), at(10, 9_000_000)], power_limit_mw=700_000)
    assert (span.energy_mj, span.finding) == (0, "counter_jump")


@pytest.mark.parametrize("paused_s", [40, 600])
def test_a_guest_that_was_paused_keeps_what_its_counter_counted_meanwhile(paused_s: int) -> None:
    def read(second: int, since_boot_s: int, energy_mj: int) -> EnergyReading:
        moment, at_us = T0 + timedelta(seconds=second), since_boot_s * 1_000_000
        return EnergyReading(
            *(moment, "a", energy_mj, "good", 80_000),
            **{"boot_id": "b", "driver_load": "d", "monotonic_us": at_us},  # type: ignore[arg-type]
        )

    before = [read(second, 50 + second, second * 80_000) for second in range(10)]
    # Of the time in which it stood still its clock since the boot knows one second.
    back = 9 + paused_s
    after = [read(back + n, 60 + n, (back + n) * 80_000) for n in range(10)]
    found = spans([*before, *after])
    told = energy_between(found, moments(0, 9, 9 + paused_s // 2, back, back + 9))
    assert [each.metered_mj for each in told] == [720_000, 0, 0, 720_000]
    assert [each.estimated_mj for each in told] == [0, *[paused_s * 40_000] * 2, 0]
    assert findings(found) == ["host_paused"]


def test_of_a_suspect_stretch_nothing_is_known() -> None:
    found = spans([at(0, 0), at(10, 9_000_000), at(20, 9_100_000)], power_limit_mw=700_000)
    (energy,) = energy_between(found, moments(0, 20))
    assert (energy.total_mj, energy.covered_us) == (100_000, 10_000_000)


def test_a_new_name_for_an_old_counter_does_not_book_its_whole_life() -> None:
    lived = 10**12
    (span,) = spans([at(0, lived), at(1, lived + 700_000, "b")])
    assert (span.energy_mj, span.metered, span.finding) == (700_000, False, "epoch_changed")


def test_one_glitched_reading_is_left_out_and_named() -> None:
    lived = 10**12
    found = spans([at(0, lived), at(1, 5), at(2, lived + 1_400_000)])
    assert [(s.energy_mj, s.finding) for s in found if s.finding is None] == [(1_400_000, None)]
    assert findings(found) == ["readings_disagree"]


def test_a_whole_step_of_the_counter_may_fall_between_two_close_readings() -> None:
    found = spans([at(0, 0), EnergyReading(T0 + timedelta(milliseconds=5), "a", 70_000)])
    assert [(s.energy_mj, s.metered) for s in found] == [(70_000, True)]


def test_outside_the_readings_nothing_is_known() -> None:
    before, inside = energy_between(spans([at(100, 0), at(110, 50_000)]), moments(0, 90, 120))
    assert (before.total_mj, before.covered_us) == (0, 0)
    assert (inside.total_mj, inside.covered_us) == (50_000, 10_000_000)


def test_a_counter_of_joules_is_no_counter_of_millijoules() -> None:
    watts = 300
    millijoules = [at(s, 7_000_000_000 + watts * 1_000 * s) for s in range(0, 60, 10)]
    joules = [at(s, 7_000_000 + watts * s) for s in range(60, 4_000, 10)]
    found = spans(millijoules + joules)
    (energy,) = energy_between(found, moments(0, 4_000))
    assert energy.metered_mj == 50 * watts * 1_000
    assert energy.covered_us == 50_000_000
    assert energy.estimated_mj == 3_930 * watts
    assert findings(found) == ["counter_too_slow", "unit_changed"]


@given(st.integers(0, 10**12), st.integers(1, 1_000), st.integers(2, 3_600))
def test_slower_than_any_board_is_not_measured(lived: int, power_mw: int, seconds: int) -> None:
    grown = power_mw * seconds
    (span,) = spans([at(0, lived), at(seconds, lived + grown)])
    assert (span.energy_mj, span.metered) == (grown, power_mw == 1_000 and seconds <= 60)
    assert span.known == (power_mw == 1_000)


@st.composite
def lives_and_leaps(draw: st.DrawFn) -> tuple[int, int]:
    """What a counter shows at first, and by how much readings are too high: one as young as the
    leap is long may have begun again, unless it leaps further than it could have come."""
    is_young = draw(st.booleans())
    lived = draw(st.integers(0, 10_000_000) if is_young else st.integers(20_000_000, 10**12))
    return lived, draw(st.integers(1_401_000 if is_young else 701_000, 4_000_000))


@given(
    st.lists(st.integers(20_000, 700_000), min_size=8, max_size=40),
    lives_and_leaps(),
    st.integers(1, 2),
    st.data(),
)
def test_readings_too_high_are_left_out_and_the_counter_runs_on(
    load_mw: list[int], life: tuple[int, int], wrong: int, data: st.DataObject
) -> None:
    lived, leap = life
    shown = [lived + sum(load_mw[:second]) for second in range(len(load_mw) + 1)]
    place = data.draw(st.integers(2, len(shown) - wrong - 3))
    readings = [at(second, energy) for second, energy in enumerate(shown)]
    high = shown[place + wrong - 1] + leap
    readings[place : place + wrong] = [at(place + n, high + n) for n in range(wrong)]
    (energy,) = energy_between(spans(readings), moments(-10, 100))
    assert energy.total_mj <= shown[-1] - shown[0]


def test_a_reading_a_little_too_high_is_no_counter_that_began_again() -> None:
    load_mw = [500_000] * 9 + [20_000] * 9
    shown = [20_000_000 + sum(load_mw[:second]) for second in range(len(load_mw) + 1)]
    readings = [
        at(second, energy + 800_000 * (second == 10)) for second, energy in enumerate(shown)
    ]
    (energy,) = energy_between(spans(readings), moments(-10, 100))
    assert energy.metered_mj == shown[-1] - shown[0]


def test_a_reading_too_high_for_the_next_adds_no_energy() -> None:
    steady = [at(s, 300_000 * s) for s in range(0, 900, 10)]
    steady[31] = at(310, 300_000 * 310 + 40_000_000, "b")
    found = spans(steady)
    (energy,) = energy_between(found, moments(0, 890))
    assert (energy.metered_mj + energy.estimated_mj, energy.covered_us) == (
        267_000_000,
        890_000_000,
    )
    assert findings(found) == ["readings_disagree"]
