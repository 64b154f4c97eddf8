"""What engines counted beyond all requests is found, and never more than that."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.cost.allocation import allocate_window
from ledger.domain.cost.cause import UNCLAIMED, USAGE
from ledger.domain.cost.slot_energy import EnergyInput, Site
from ledger.domain.cost.slots import Ran, weigh
from ledger.domain.cost.stepped import Stepped, stepped_between, stepped_together
from ledger.domain.cost.unclaimed import (
    OF_NO_REQUEST,
    SERVED,
    Growth,
    deltas_in,
    growth_of,
    with_unclaimed,
)
from ledger.domain.cost.weights import Weights
from ledger.domain.energy.counter_course import EnergyReading
from ledger.domain.energy.meter import spans
from ledger.domain.energy.tariff import TariffCut
from ledger.domain.metering.engine_counter import CounterSample
from ledger.domain.metering.times import micros
from ledger.domain.period import Period
from tests.support.allocated import lines_taken
from tests.support.examples import at_depth

T0 = datetime(2026, 3, 2, 10, tzinfo=UTC)
BASE = micros(T0)
WINDOW = Period(T0, T0 + timedelta(minutes=15))
SECOND = 1_000_000


def ran(since_s: int, until_s: int, *, instance: str = "e", **said: int) -> dict[str, object]:
    """An attempt that reads and writes all the time between two seconds of the window."""
    edges = {"start": BASE + since_s * SECOND, "end": BASE + until_s * SECOND}
    edges |= {"read": edges["end"], "wrote": edges["start"]}
    counts = dict.fromkeys(("uncached", "cache_read", "cache_write", "output", "context"), 0)
    ids: dict[str, object] = {"engine_key_id": 1, "usage_key_id": 7, "sign": 1}
    return ids | edges | counts | said | {"instance": instance}


def frame(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(rows, SERVED)


def grown(since_s: int, until_s: int, asked: int, written: int, instance: str = "e") -> Growth:
    return Growth(instance, BASE + since_s * SECOND, BASE + until_s * SECOND, asked, written)


def found_in(served: pl.DataFrame | None, growth: list[Growth]) -> list[tuple[int, ...]]:
    """(from, to, tokens in, tokens out) of what nobody claims, in seconds of the window."""
    told = with_unclaimed(served, growth)
    if told is None:
        return []
    own = told.filter(pl.col("usage_key_id") == OF_NO_REQUEST).sort("start")
    seconds = [(pl.col(name) - BASE) // SECOND for name in ("start", "end")]
    return list(own.select(*seconds, "uncached", "output").iter_rows())


def test_what_no_request_claims_lies_where_the_engine_counted_more_than_ran() -> None:
    served = frame(ran(0, 60, uncached=500), ran(300, 360, output=300))
    growth = [grown(0, 60, 600, 0), grown(60, 300, 0, 0), grown(300, 360, 0, 400)]
    assert found_in(served, growth) == [(0, 60, 100, 0), (300, 360, 0, 100)]


def test_what_is_less_than_ran_was_worked_on_beside_it_and_what_is_more_all_the_while() -> None:
    served = frame(ran(10, 20, output=80), ran(30, 40, output=80))
    assert found_in(served, [grown(0, 60, 0, 200)]) == [(10, 20, 0, 20), (30, 40, 0, 20)]
    assert found_in(served, [grown(0, 60, 0, 900)]) == [(0, 60, 0, 740)]
    assert found_in(None, [grown(0, 60, 5, 0)]) == [(0, 60, 5, 0)]


def test_a_request_over_an_edge_may_have_had_all_of_its_tokens_here() -> None:
    served = frame(ran(-300, 300, output=600))
    assert found_in(served, [grown(0, 900, 0, 600)]) == []
    assert found_in(served, [grown(0, 900, 0, 601)]) == [(0, 300, 0, 1)]


def test_requests_that_name_no_instance_claim_what_any_engine_of_theirs_counted() -> None:
    served = frame(ran(0, 60, instance="", output=600))
    assert found_in(served, [grown(0, 60, 0, 300, "a"), grown(0, 60, 0, 300, "b")]) == []


def test_what_was_taken_back_claims_nothing() -> None:
    served = frame(ran(0, 60, output=600), ran(0, 60, output=600, sign=-1))
    assert found_in(served, [grown(0, 60, 0, 600)]) == [(0, 60, 0, 600)]


TIMES = st.tuples(st.integers(-900, 1_800), st.integers(1, 900))
ATTEMPT = st.builds(
    lambda at, asked, written, instance: ran(
        at[0], at[0] + at[1], uncached=asked, output=written, instance=instance
    ),
    TIMES,
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.sampled_from(["", "a", "b"]),
)
EDGES = st.lists(st.integers(0, 900), min_size=2, max_size=6, unique=True).map(sorted)


@st.composite
def growths(draw: st.DrawFn, instance: str) -> list[Growth]:
    edges = draw(EDGES)
    tokens = st.integers(0, 3 * 10**6)
    return [
        grown(since, until, draw(tokens), draw(tokens), instance)
        for since, until in pairwise(edges)
    ]


@settings(max_examples=at_depth(80))
@given(st.lists(ATTEMPT, max_size=6), growths("a"), growths("b"))
def test_found_is_what_engines_counted_beyond_all_requests(
    attempts: list[dict[str, object]], of_a: list[Growth], of_b: list[Growth]
) -> None:
    growth = [*of_a, *of_b]
    served = frame(*attempts) if attempts else None
    told = found_in(served, growth)
    for side, name in enumerate(("uncached", "output")):
        counted = sum((one.input, one.output)[side] for one in growth)
        claimed = sum(int(str(one[name])) for one in attempts)
        assert sum(row[2 + side] for row in told) == max(counted - claimed, 0)
    for since, until, asked, written in told:
        assert 0 <= since < until <= 900
        assert asked >= 0
        assert written >= 0


@settings(max_examples=at_depth(60))
@given(
    st.lists(ATTEMPT, max_size=4),
    growths("a"),
    st.builds(Weights, st.just(1), *(st.integers(0, 1_000) for _ in range(6))),
    st.integers(0, 700_000),
)
def test_nothing_is_lost_or_made_where_much_is_unclaimed(
    attempts: list[dict[str, object]], growth: list[Growth], weights: Weights, power_mw: int
) -> None:
    told = with_unclaimed(frame(*attempts) if attempts else None, growth)
    running = (pl.col("end") > BASE) & (pl.col("start") < BASE + 900 * SECOND)
    served = frame() if told is None else told.filter(running)
    work = weigh(Ran.of_frame(served.with_columns(engine=pl.lit(0, pl.Int64)), BASE), weights)
    moments = [T0 + timedelta(seconds=second) for second in range(0, 901, 10)]
    readings = [EnergyReading(at, "a", 10**9 + n * 10 * power_mw) for n, at in enumerate(moments)]
    energy = EnergyInput(
        (spans(readings),), (TariffCut(WINDOW, Decimal("80")),), Site(50_000, Decimal("1.2"))
    )
    result = allocate_window(WINDOW, energy=energy, work=work, gpu_cost=Decimal("2.5"))
    used = lines_taken(result.taken)
    device = sum(used["device_metered_mj"]) + sum(used["device_estimated_mj"])
    assert device + result.idle.metered_mj + result.idle.estimated_mj == 900 * power_mw
    assert sum(used["gpu_cost"]) + result.idle.gpu_cost == 25 * 10**11
    own = used.filter(pl.col("line") != USAGE)
    assert set(own["usage_key_id"]) <= {0}
    assert own["line"].is_unique().all()


def test_unclaimed_has_a_line_of_its_own_by_the_same_weights() -> None:
    told = with_unclaimed(frame(ran(0, 900, uncached=800)), [grown(0, 900, 1_000, 0)])
    assert told is not None
    work = weigh(Ran.of_frame(told.with_columns(engine=pl.lit(0, pl.Int64)), BASE), Weights())
    result = allocate_window(WINDOW, energy=None, work=work, gpu_cost=Decimal(10))
    rows = lines_taken(result.taken).select("line", "usage_key_id", "gpu_cost").sort("line").rows()
    assert rows == [(UNCLAIMED, 0, 2 * 10**12), (USAGE, 7, 8 * 10**12)]


def sample(second: int, value: int, **said: object) -> CounterSample:
    moment = T0 + timedelta(seconds=second)
    plain = {"metric": "generation_tokens", "labels": (), "run_id": "r", "run_started_at": None}
    return CounterSample("e", scraped_at=moment, value=Decimal(value), **plain | said)  # type: ignore[arg-type]


def grown_in(samples: Iterable[CounterSample]) -> list[Growth]:
    return growth_of(deltas_in(WINDOW, samples))


def stepped_in(samples: Iterable[CounterSample]) -> Stepped | None:
    return stepped_between(deltas_in(WINDOW, samples))


def test_only_what_was_scraped_in_the_window_and_is_certain_is_growth() -> None:
    steady = [sample(second, 100 + second) for second in (-15, 0, 60, 900, 960)]
    assert grown_in(steady) == [grown(0, 60, 0, 60), grown(60, 900, 0, 840)]
    assert grown_in([sample(0, 500), sample(60, 7)]) == []
    assert grown_in([sample(0, 5), sample(60, 9, inexact=True)]) == []
    assert grown_in([sample(0, 5), sample(60, 10**30)]) == []
    apart = [
        sample(second, value + second, metric=f"prompt_tokens_{name}")
        for name, value in (("cached", 10), ("computed", 20))
        for second in (0, 60)
    ]
    assert grown_in(apart) == [grown(0, 60, 120, 0)]
    assert grown_in(apart[:2]) == []


def test_engines_that_share_a_request_are_asked_for_their_own_half_of_it() -> None:
    halves = [
        sample(second, value * second, metric=metric, labels=(("engine_type", half),))
        for half, asked, written in (("prefill", 20, 1), ("decode", 20, 9), ("unified", 3, 4))
        for metric, value in (("prompt_tokens", asked), ("generation_tokens", written))
        for second in (0, 60)
    ]
    assert grown_in(halves) == [grown(0, 60, 23 * 60, 13 * 60)]


def test_steps_are_told_beside_the_tokens_that_they_wrote_or_not_at_all() -> None:
    wrote = [sample(second, 8 * second) for second in (0, 60, 900)]
    steps = [sample(second, second, metric="steps") for second in (-60, 0, 60, 900, 960)]
    assert stepped_in(steps + wrote) == (900, 7_200)
    assert stepped_in(wrote) is None
    assert stepped_in([*steps, sample(0, 5), sample(60, 1)]) is None
    assert stepped_in([*wrote, sample(0, 9, metric="steps"), sample(60, 1, metric="steps")]) is None
    counted = {"a": Stepped(900, 7_200), "b": Stepped(100, 800)}
    assert stepped_together(["a", "b"], counted) == (1_000, 8_000)
    assert stepped_together(["a", "c"], counted) == (0, 0)
    assert stepped_together([], counted) == (0, 0)
