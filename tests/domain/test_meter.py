from datetime import UTC, datetime, timedelta

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
def streams(draw: st.DrawFn, least: int = 1) -> list[EnergyReading]:
    readings, second, energy = [], 0, draw(st.integers(0, 10**12))
    for _ in range(draw(st.integers(2, 30))):
        readings.append(at(second, energy))
        elapsed = draw(st.integers(1, 50))
        second += elapsed
        energy += draw(st.integers(least, 700_000 * elapsed))
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
    found = spans([at(0, 5_000_000), at(10, 5_003_000), at(40, 700, "b"), at(50, 1_700, "b")])
    (energy,) = energy_between(found, moments(0, 50))
    assert (energy.metered_mj, energy.estimated_mj) == (3_000 + 1_000, 700)
    assert findings(found) == ["counter_reset"]


def test_a_fall_inside_an_epoch_is_an_unnoticed_reset() -> None:
    (span,) = spans([at(0, 5_000_000), at(10, 300)])
    assert (span.energy_mj, span.metered, span.finding) == (300, False, "counter_reset")


def test_a_long_gap_is_estimated_and_keeps_its_energy() -> None:
    (span,) = spans([at(0, 0), at(61, 6_100)])
    assert (span.energy_mj, span.metered, span.finding) == (6_100, False, "gap")


def test_a_jump_above_the_power_limit_is_reported_and_not_booked() -> None:
    (span,) = spans([at(0, 0), at(10, 9_000_000)], power_limit_mw=700_000)
    assert (span.energy_mj, span.finding) == (0, "counter_jump")


def test_of_a_suspect_stretch_nothing_is_known() -> None:
    found = spans([at(0, 0), at(10, 9_000_000), at(20, 9_001_000)], power_limit_mw=700_000)
    (energy,) = energy_between(found, moments(0, 20))
    assert (energy.total_mj, energy.covered_us) == (1_000, 10_000_000)


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
    before, inside = energy_between(spans([at(100, 0), at(110, 50)]), moments(0, 90, 120))
    assert (before.total_mj, before.covered_us) == (0, 0)
    assert (inside.total_mj, inside.covered_us) == (50, 10_000_000)
