from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.cost.allocation import (
    EnergyInput,
    EngineActivity,
    Site,
    Weights,
    WindowAllocation,
    allocate_window,
)
from ledger.domain.energy.counter_course import EnergyReading
from ledger.domain.energy.facility import uplift
from ledger.domain.energy.meter import Span, energy_between, spans
from ledger.domain.energy.tariff import TariffCut, energy_cost
from ledger.domain.metering.busy import busy_seconds, mask_of, runs
from ledger.domain.period import Period

T0 = datetime(2024, 10, 27, tzinfo=UTC)
WINDOW = Period(T0, T0 + timedelta(minutes=15))
WHOLE = (TariffCut(WINDOW, Decimal("80")),)


def readings_of(power_mw: list[int], *, epoch_at: int | None = None) -> list[EnergyReading]:
    """A reading every ten seconds; the counter restarts before reading number `epoch_at`."""
    found, energy, epoch = [], 10**9, "a"
    for number, power in enumerate(power_mw):
        if number == epoch_at:
            energy, epoch = 100, "b"
        found.append(EnergyReading(T0 + timedelta(seconds=10 * number), epoch, energy))
        energy += power * 10
    return found


ACTIVITY = st.lists(
    st.builds(
        EngineActivity,
        st.integers(1, 10**9),
        *(st.integers(0, 10**7) for _ in range(4)),
    ),
    max_size=8,
    unique_by=lambda a: a.usage_key_id,
)
CUTS = st.sampled_from(
    [
        WHOLE,
        (
            TariffCut(Period(T0, T0 + timedelta(minutes=5)), Decimal("-12.34")),
            TariffCut(Period(T0 + timedelta(minutes=5), WINDOW.end), Decimal("140.1")),
        ),
        (
            TariffCut(Period(T0, T0 + timedelta(minutes=10)), None),
            TariffCut(Period(T0 + timedelta(minutes=10), WINDOW.end), Decimal("1")),
        ),
    ]
)


def check_conserved(result: WindowAllocation, metered: int, estimated: int) -> None:
    lines = result.lines
    assert sum(line.device_metered_mj for line in lines) == metered
    assert sum(line.device_estimated_mj for line in lines) == estimated
    electricity = sum((line.device_cost + line.overhead_cost for line in lines), Decimal(0))
    assert electricity == result.electricity_pool
    assert sum((line.gpu_cost for line in lines), Decimal(0)) == result.gpu_pool


def check_uplifted(result: WindowAllocation, found: list[Span], energy: EnergyInput) -> None:
    """Host and overhead of the lines are those of each priced stretch, and so is what costs."""
    site, host_mj, overhead_mj, pool = energy.site, 0, 0, Decimal(0)
    for cut in energy.cuts:
        (device,) = energy_between(found, (cut.period.start, cut.period.end))
        stretch = uplift(device.total_mj, site.host_mw * cut.period.seconds, site.pue)
        host_mj += stretch.host_mj
        overhead_mj += stretch.overhead_mj
        if cut.price_per_mwh is not None:
            pool += energy_cost(stretch.total_mj, cut.price_per_mwh)
    assert sum(line.host_mj for line in result.lines) == host_mj
    assert sum(line.overhead_mj for line in result.lines) == overhead_mj
    assert result.electricity_pool == pool


@settings(max_examples=60)
@given(
    power=st.lists(st.integers(0, 700_000), min_size=2, max_size=91),
    epoch_at=st.none() | st.integers(1, 90),
    mask=st.integers(0, 2**900 - 1),
    activity=ACTIVITY,
    cuts=CUTS,
    host_mw=st.integers(0, 10**6),
    pue=st.decimals(1, 2, places=4),
    gpu_cost=st.decimals(0, 1000, places=12),
)
def test_nothing_is_lost_or_made(  # every input at once is the claim
    power: list[int],
    epoch_at: int | None,
    mask: int,
    activity: list[EngineActivity],
    cuts: tuple[TariffCut, ...],
    host_mw: int,
    pue: Decimal,
    gpu_cost: Decimal,
) -> None:
    found = spans(readings_of(power, epoch_at=epoch_at))
    (energy,) = energy_between(found, (WINDOW.start, WINDOW.end))
    inputs = EnergyInput((found,), cuts, Site(host_mw, pue))
    result = allocate_window(
        WINDOW, energy=inputs, mask=mask, activity=activity, weights=Weights(), gpu_cost=gpu_cost
    )
    check_conserved(result, energy.metered_mj, energy.estimated_mj)
    check_uplifted(result, found, inputs)
    assert result.gpu_pool == gpu_cost


def test_idle_is_what_no_attempt_covered_to_the_second() -> None:
    found = spans(readings_of([300_000] * 91))
    mask = mask_of(T0, T0 + timedelta(seconds=300), T0)
    result = allocate_window(
        WINDOW,
        energy=EnergyInput((found,), WHOLE, Site()),
        mask=mask,
        activity=[EngineActivity(7, 10, 0, 0, 2)],
        weights=Weights(),
        gpu_cost=Decimal(9),
    )
    usage, idle = result.lines
    assert (usage.line, usage.device_metered_mj, usage.gpu_cost) == (
        "usage",
        90_000_000,
        Decimal(3),
    )
    assert (idle.line, idle.device_metered_mj, idle.gpu_cost) == ("idle", 180_000_000, Decimal(6))


def test_a_busy_second_takes_the_energy_used_at_that_second() -> None:
    found = spans(readings_of([100_000] * 45 + [500_000] * 46))
    result = allocate_window(
        WINDOW,
        energy=EnergyInput((found,), WHOLE, Site()),
        mask=mask_of(T0 + timedelta(seconds=450), WINDOW.end, T0),
        activity=[EngineActivity(7, 1, 0, 0, 0)],
        weights=Weights(),
        gpu_cost=Decimal(0),
    )
    assert [line.device_metered_mj for line in result.lines] == [225_000_000, 45_000_000]


def test_busy_time_whose_tokens_weigh_nothing_is_unattributed() -> None:
    result = allocate_window(
        WINDOW,
        energy=None,
        mask=mask_of(T0, WINDOW.end, T0),
        activity=[EngineActivity(7, 0, 500, 0, 0)],
        weights=Weights(),
        gpu_cost=Decimal(4),
    )
    assert [(line.line, line.gpu_cost) for line in result.lines] == [("unattributed", Decimal(4))]


def test_a_pool_rounds_once() -> None:
    found = spans(readings_of([333_333] * 91))
    result = allocate_window(
        WINDOW,
        energy=EnergyInput((found,), WHOLE, Site(50_000, Decimal("1.25"))),
        mask=0,
        activity=[],
        weights=Weights(),
        gpu_cost=Decimal(0),
    )
    facility = (333_333 * 900 + 50_000 * 900) * 125 // 100
    assert result.electricity_pool == energy_cost(facility, Decimal("80"))


@given(st.integers(0, 2**900 - 1))
def test_runs_cover_the_window_and_agree_with_the_mask(mask: int) -> None:
    stretches = list(runs(mask))
    assert stretches[0][0] == 0
    assert stretches[-1][1] == 900
    assert sum(end - first for first, end, busy in stretches if busy) == busy_seconds(mask)


def test_an_empty_attempt_touches_its_own_second() -> None:
    at = T0 + timedelta(seconds=4, milliseconds=300)
    assert mask_of(at, at, T0) == 1 << 4
    assert mask_of(T0, T0 + timedelta(seconds=1), T0) == 1
