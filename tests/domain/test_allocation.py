from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.cost.allocation import WindowAllocation, allocate_window
from ledger.domain.cost.slot_energy import EnergyInput, Site
from ledger.domain.cost.slots import Ran, SlotWork, idle, weigh
from ledger.domain.cost.weights import Weights
from ledger.domain.energy.counter_course import EnergyReading
from ledger.domain.energy.facility import uplift
from ledger.domain.energy.meter import energy_between, spans
from ledger.domain.energy.span import Span
from ledger.domain.energy.tariff import TariffCut, energy_cost
from ledger.domain.metering.busy import busy_seconds, runs
from ledger.domain.metering.times import micros
from ledger.domain.period import Period
from tests.support.allocated import lines_of
from tests.support.busy import mask_of
from tests.support.examples import at_depth

T0 = datetime(2024, 10, 27, tzinfo=UTC)
BASE = micros(T0)
DECLARED = Weights()
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


@st.composite
def attempt(draw: st.DrawFn) -> dict[str, int]:
    """Anything that may have run, from before the window to after it."""
    moments = sorted(draw(st.integers(-(10**9), 2 * 10**9)) for _ in range(3))
    start, first, end = moments[0], max(moments[1], moments[0] + 1), moments[2] + 2
    return {
        "engine": draw(st.integers(0, 2)),
        "usage_key_id": draw(st.integers(1, 5)),
        **{"start": BASE + start, "read": BASE + first, "wrote": BASE + first, "end": BASE + end},
        "sign": 1,
        **{n: draw(st.integers(0, 10**7)) for n in ("uncached", "cache_read", "cache_write")},
        "output": draw(st.integers(0, 10**7)),
        "context": draw(st.integers(0, 10**7)),
    }


def worked(since_s: int, until_s: int, *, weights: Weights = DECLARED, **tokens: int) -> SlotWork:
    """One attempt of key 7 that reads and writes all the time."""
    edges = {"start": BASE + since_s * 1_000_000, "end": BASE + until_s * 1_000_000}
    edges |= {"read": edges["end"], "wrote": edges["start"]}
    counts = dict.fromkeys(("uncached", "cache_read", "cache_write", "output", "context"), 0)
    row = {"engine": 0, "usage_key_id": 7, **edges, "sign": 1, **counts, **tokens}
    return weigh(Ran.of_frame(pl.DataFrame([row]), BASE), weights)


ATTEMPTS = st.lists(attempt(), max_size=8)
WEIGHTS = st.builds(Weights, st.just(1), *(st.integers(0, 2**31 - 1) for _ in range(6)))
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
    lines = lines_of(result)
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
    assert sum(line.host_mj for line in lines_of(result)) == host_mj
    assert sum(line.overhead_mj for line in lines_of(result)) == overhead_mj
    assert result.electricity_pool == pool


@settings(max_examples=at_depth(60))
@given(
    power=st.lists(st.integers(0, 700_000), min_size=2, max_size=91),
    epoch_at=st.none() | st.integers(1, 90),
    attempts=ATTEMPTS,
    weights=WEIGHTS,
    slot_s=st.sampled_from([1, 15, 60, 900]),
    idle_mw=st.none() | st.integers(0, 700_000),
    cuts=CUTS,
    host_mw=st.integers(0, 10**6),
    pue=st.decimals(1, 2, places=4),
    gpu_cost=st.decimals(0, 1000, places=12),
)
def test_nothing_is_lost_or_made(  # every input at once is the claim
    power: list[int],
    epoch_at: int | None,
    attempts: list[dict[str, int]],
    weights: Weights,
    slot_s: int,
    idle_mw: int | None,
    cuts: tuple[TariffCut, ...],
    host_mw: int,
    pue: Decimal,
    gpu_cost: Decimal,
) -> None:
    found = spans(readings_of(power, epoch_at=epoch_at))
    (energy,) = energy_between(found, (WINDOW.start, WINDOW.end))
    inputs = EnergyInput((found,), cuts, Site(host_mw, pue), idle_mw)
    work = weigh(Ran.of_frame(pl.DataFrame(attempts), BASE), weights, engines=3, slot_s=slot_s)
    result = allocate_window(WINDOW, energy=inputs, work=work, gpu_cost=gpu_cost)
    check_conserved(result, energy.metered_mj, energy.estimated_mj)
    check_uplifted(result, found, inputs)
    assert result.gpu_pool == gpu_cost


def test_idle_is_what_no_attempt_covered_to_the_second() -> None:
    found = spans(readings_of([300_000] * 91))
    result = allocate_window(
        WINDOW,
        energy=EnergyInput((found,), WHOLE, Site()),
        work=worked(0, 300, uncached=10, output=2),
        gpu_cost=Decimal(9),
    )
    usage, rest = lines_of(result)
    assert (usage.line, usage.device_metered_mj, usage.gpu_cost) == (
        "usage",
        90_000_000,
        Decimal(3),
    )
    assert (rest.line, rest.device_metered_mj, rest.gpu_cost) == ("idle", 180_000_000, Decimal(6))


def test_a_busy_second_takes_the_energy_used_at_that_second() -> None:
    found = spans(readings_of([100_000] * 45 + [500_000] * 46))
    result = allocate_window(
        WINDOW,
        energy=EnergyInput((found,), WHOLE, Site()),
        work=worked(450, 900, uncached=1),
        gpu_cost=Decimal(0),
    )
    assert [line.device_metered_mj for line in lines_of(result)] == [225_000_000, 45_000_000]


def test_busy_time_whose_tokens_weigh_nothing_is_unattributed() -> None:
    result = allocate_window(
        WINDOW,
        energy=None,
        work=worked(0, 900, cache_read=500),
        gpu_cost=Decimal(4),
    )
    named = [(line.line, line.gpu_cost) for line in lines_of(result)]
    assert named == [("usage", Decimal(0)), ("unattributed", Decimal(4))]


def test_a_pool_rounds_once() -> None:
    found = spans(readings_of([333_333] * 91))
    result = allocate_window(
        WINDOW,
        energy=EnergyInput((found,), WHOLE, Site(50_000, Decimal("1.25"))),
        work=idle(),
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
