"""The split of an engine's energy against engines whose every joule is known."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from ledger.domain.cost.allocation import WindowAllocation, allocate_window
from ledger.domain.cost.attempt_rows import KEY
from ledger.domain.cost.attempt_times import attempts_of
from ledger.domain.cost.attempts import EngineOwner, by_window, timed
from ledger.domain.cost.cause import IDLE
from ledger.domain.cost.slot_energy import EnergyInput, Site
from ledger.domain.cost.slots import Ran, weigh
from ledger.domain.cost.weights import Weights
from ledger.domain.energy.counter_course import EnergyReading
from ledger.domain.energy.meter import spans
from ledger.domain.energy.span import Span
from ledger.domain.energy.tariff import TariffCut
from ledger.domain.metering.times import micros
from ledger.domain.period import WINDOW, Period
from tests.support.allocated import lines_of
from tests.support.batching import Physics, Run, Served, simulate
from tests.support.examples import at_depth
from tests.support.loads import HOUR, SCENARIOS, any_load, one_of_eight

T0 = datetime(2026, 3, 2, 10, tzinfo=UTC)
LAW = Physics()
# What the law says in whole microjoules.
TRUE = Weights(
    version=2,
    uncached=60_000,
    cache_read=400,
    cache_write=60_000,
    output=359_600,
    context=20_000,
    step=27_430_000,
)
IDLE_MW = 440_000


def moment_us(second: float) -> int:
    return micros(T0) + round(second * 1_000_000)


def facts_of(served: Sequence[Served], names: Sequence[str]) -> pl.DataFrame:
    """Rows as the ledger stores them: begun when the gateway took them."""
    rows = []
    for one in served:
        ask = one.request
        begun = ask.at - ask.queued_s
        row = {
            "usage_key_id": names.index(ask.customer) + 1,
            "engine_key_id": 1,
            "time": moment_us(one.ended),
            "started_at": moment_us(begun),
            "first_token_at": moment_us(one.first_token),
            "ended_at": moment_us(one.ended),
            "queue_ms": round((one.started - begun) * 1_000),
            "requests": 1,
            "uncached": ask.uncached,
            "cache_read": ask.cached,
            "cache_write": 0,
            "visible": ask.output,
            "reasoning": 0,
        }
        rows.append(row)
    return pl.DataFrame(rows)


def meter_of(run: Run, read_s: int = 10) -> list[Span]:
    seconds = range(0, HOUR + 1, read_s)
    read = zip(seconds, run.readings(seconds), strict=True)
    return spans(EnergyReading(T0 + timedelta(seconds=s), "a", mj) for s, mj in read)


def ran_of(facts: pl.DataFrame) -> dict[int, Ran]:
    """What ran in each window, on one engine."""
    rows = attempts_of(facts)
    nowhere = np.zeros(facts.height, np.int64)
    found = by_window(rows, rows[:, KEY], nowhere, [EngineOwner(1, None)])
    return {
        start: Ran.of(rows, [[*attempts.numbers.values()]], start)
        for start, attempts in found.items()
    }


def allocate(
    run: Run,
    facts: pl.DataFrame,
    weights: Weights,
    *,
    idle_mw: int | None,
    slot_s: int = 15,
    read_s: int = 10,
    chunk: int | None = LAW.chunk,
) -> list[WindowAllocation]:
    attempts = ran_of(facts)
    found, meter = [], meter_of(run, read_s)
    for quarter in range(4):
        window = Period(T0 + quarter * WINDOW, T0 + (quarter + 1) * WINDOW)
        start = micros(window.start)
        work = weigh(attempts[start], weights, slot_s=slot_s, chunk=chunk)
        energy = EnergyInput((meter,), (TariffCut(window, Decimal(80)),), Site(), idle_mw)
        found.append(allocate_window(window, energy=energy, work=work, gpu_cost=Decimal(4)))
    return found


def errors(run: Run, found: Sequence[WindowAllocation], names: Sequence[str]) -> dict[str, float]:
    """How far each customer's energy, and idle energy, is from true, in hundredths."""
    true = run.of_customers() | {IDLE: run.idle_j}
    booked = dict.fromkeys(true, 0.0)
    for line in (line for window in found for line in lines_of(window)):
        name = names[line.usage_key_id - 1] if line.usage_key_id else line.line
        booked[name] += line.device_metered_mj / 1_000
    return {name: 100 * (booked[name] / true[name] - 1) for name in true}


def worst(off: dict[str, float]) -> float:
    return max(abs(error) for name, error in off.items() if name != IDLE)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_customer_is_charged_what_it_took(scenario: str) -> None:
    run = simulate(SCENARIOS[scenario](), HOUR)
    names = sorted(run.of_customers())
    facts = facts_of(run.served, names)
    off = errors(run, allocate(run, facts, TRUE, idle_mw=IDLE_MW), names)
    assert worst(off) < 1
    assert abs(off[IDLE]) < 1
    # Tokens pooled over a quarter hour by rule of thumb are far from it in every one of these.
    blind = facts.with_columns(queue_ms=pl.lit(None, pl.Int64))
    pooled = allocate(run, blind, Weights(), idle_mw=None, slot_s=900)
    assert worst(errors(run, pooled, names)) > 10


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whatever_the_seed_of_a_scenario(scenario: str) -> None:
    """Fifty of each by `make torture`."""
    for seed in range(1, at_depth(10) + 1):
        run = simulate(SCENARIOS[scenario](seed), HOUR)
        names = sorted(run.of_customers())
        off = errors(run, allocate(run, facts_of(run.served, names), TRUE, idle_mw=IDLE_MW), names)
        assert worst(off) < 2
        assert abs(off[IDLE]) < 1


def test_chunks_that_nobody_declared_are_steps_that_prompts_do_not_pay_for() -> None:
    run = simulate(SCENARIOS["prompts-in-chunks"](), HOUR)
    names = sorted(run.of_customers())
    facts = facts_of(run.served, names)
    off = errors(run, allocate(run, facts, TRUE, idle_mw=IDLE_MW, chunk=None), names)
    assert -4 < off["documents"] < -2


@pytest.mark.parametrize("seed", range(1, 17))
def test_loads_by_chance_are_charged_near_what_they_took(seed: int) -> None:
    """4 is off by its meter."""
    run = simulate(any_load(seed), HOUR)
    names = sorted(run.of_customers())
    off = errors(run, allocate(run, facts_of(run.served, names), TRUE, idle_mw=IDLE_MW), names)
    assert worst(off) < (7 if seed == 4 else 2.5)


@pytest.mark.parametrize("seed", [2, 4, 7, 20])
def test_a_meter_read_each_second_tells_short_requests_from_long_ones_beside_them(
    seed: int,
) -> None:
    run = simulate(any_load(seed), HOUR)
    names = sorted(run.of_customers())
    facts = facts_of(run.served, names)
    off = errors(run, allocate(run, facts, TRUE, idle_mw=IDLE_MW, read_s=1), names)
    assert worst(off) < 2


def test_kinds_hold_the_step_of_a_prompt_and_the_context_and_steps_of_an_answer() -> None:
    """Two asked, one of them while the other wrote, and each wrote in steps that both were in."""
    start = micros(T0)
    times = {"start": (0, 5), "read": (5, 10), "wrote": (5, 10), "end": (15, 15)}
    said: dict[str, Sequence[int]] = {
        **{name: [start + s * 1_000_000 for s in at] for name, at in times.items()},
        **{"engine_key_id": [1, 1], "usage_key_id": [1, 2], "sign": [1, 1], "engine": [0, 0]},
        **{"uncached": [300, 0], "cache_read": [0, 500], "cache_write": [0, 0]},
        **{"output": [41, 21], "context": [1_000, 2_000]},
    }
    weights = Weights(2, uncached=3, cache_read=1, output=2, context=5, step=80)
    work = weigh(Ran.of_frame(pl.DataFrame(said), start), weights)
    first, second, _, answers = work.kinds_by([1] * 60)
    assert work.tokens == (300, 500, 0, 62)
    # One alone, one beside another; of 40 steps half alone and half beside, and 20 beside.
    asked = (300 * 3 + 80, 500 + 80 / 2)
    wrote = 41 * (2 + 5) + 21 * (2 + 5 * 2) + 80 * (20 + 20 / 2 + 20 / 2)
    whole = sum(asked) + wrote
    found = [part / (first + second + answers) for part in (first, second, answers)]
    assert found == pytest.approx([asked[0] / whole, asked[1] / whole, wrote / whole], rel=1e-6)


def test_power_at_rest_that_nobody_declared_is_the_least_that_was_seen() -> None:
    run = simulate(SCENARIOS["lone-then-burst"](), HOUR)
    names = sorted(run.of_customers())
    off = errors(run, allocate(run, facts_of(run.served, names), TRUE, idle_mw=None), names)
    assert worst(off) < 4
    assert abs(off[IDLE]) < 4


def test_the_order_of_facts_and_what_is_taken_back_change_nothing() -> None:
    run = simulate(SCENARIOS["steady-mix"](), HOUR)
    names = sorted(run.of_customers())
    facts = facts_of(run.served, names)
    counts = ("requests", "uncached", "cache_read", "cache_write", "visible", "reasoning")
    mistaken = facts.head(300).with_columns(pl.col("visible") + 999)
    back = mistaken.with_columns(-pl.col(name) for name in counts)
    shuffled = pl.concat([mistaken, back, facts]).sample(fraction=1, shuffle=True, seed=1)
    expected, again = (
        [lines_of(window) for window in allocate(run, some, TRUE, idle_mw=IDLE_MW)]
        for some in (facts, shuffled)
    )
    assert again == expected


def test_whether_a_record_goes_by_its_own_times_is_the_same_for_every_window() -> None:
    run = simulate(SCENARIOS["steady-mix"](), HOUR)
    facts = facts_of(run.served, sorted(run.of_customers())).head(2)
    begun = pl.col("time") - 3_600 * 1_000_000
    kept = facts.head(1).with_columns(started_at=begun)
    longer = kept.with_columns(started_at=begun - 1)
    both, end = pl.concat([kept, longer]), kept["time"].item()
    whole = (end - 7_200 * 1_000_000, end + 1)
    assert timed(both, *whole).equals(kept)
    assert timed(both, end, end + 1).equals(kept)
    assert timed(both, end - 3_600 * 1_000_000, end - 1).equals(kept)
    assert timed(both, end + 1, end + 2).is_empty()


def test_replicas_at_rest_are_idle() -> None:
    """Eight engines of one deployment, of which one works: nobody says which board is whose."""
    run, rest = simulate(one_of_eight(), HOUR), meter_of(simulate([], HOUR))
    facts = facts_of(run.served, ["only"])
    attempts = ran_of(facts)
    idle_j = 0.0
    for start, served in sorted(attempts.items()):
        since = T0 + timedelta(microseconds=start - micros(T0))
        window = Period(since, since + WINDOW)
        work = weigh(served, TRUE, engines=8)
        meters = (meter_of(run), *[rest] * 7)
        energy = EnergyInput(meters, (TariffCut(window, Decimal(80)),), Site(), 8 * IDLE_MW)
        found = allocate_window(window, energy=energy, work=work, gpu_cost=Decimal(8))
        idle_j += sum(one.device_metered_mj for one in lines_of(found) if one.line == IDLE) / 1_000
    assert idle_j == pytest.approx(run.idle_j + 7 * 440 * HOUR, rel=0.005)
