"""What one event cost, recomputed from what its window was allocated from, and all of them."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.cost.attempt_cost import parts_of_line
from ledger.domain.cost.deployment import Deployment
from ledger.domain.cost.served import Served
from ledger.domain.cost.share import Share
from ledger.domain.cost.weighing import WHOLE
from ledger.domain.cost.weights import Weights
from ledger.domain.cost.window_cost import CostScope, Serving
from ledger.domain.errors import ConflictError, NotFoundError
from ledger.domain.metering.times import micros
from ledger.domain.period import WINDOW, Period
from ledger.flows.cost.allocate import allocate
from ledger.flows.cost.trace_event import share_of, trace_event
from ledger.store.connect import draw_cut_off
from ledger.store.cost.evidence import find_key_lines
from ledger.store.queries import Connection
from tests.domain.test_allocation import ATTEMPTS, BASE, T0
from tests.support.books import Books
from tests.support.examples import at_depth
from tests.support.usage import (
    NOW,
    Event,
    Gate,
    add_customer,
    attempt,
    correction,
    keyed,
    open_books,
    sequenced,
)

START = datetime(2026, 8, 6, 11, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
WEIGHTS = Weights(version=3, uncached=7, cache_read=1, cache_write=9, output=50, step=1_000)


def served(rng: random.Random, name: str, number: int) -> Event:
    """An attempt of up to twelve minutes, into the next window now and then."""
    ended = START + timedelta(seconds=rng.uniform(300, 2_600))
    began = ended - timedelta(seconds=rng.uniform(1, 700))
    event = attempt(
        f"{name}-{number}",
        tokens=rng.randrange(1, 5_000),
        started_at=began.isoformat(),
        ended_at=ended.isoformat(),
        customer_id=name,
    )
    return event | {"time": ended.isoformat()}


async def build(worker: Connection, *, beside: bool = False) -> None:
    rng, books = random.Random(7), Books(worker)
    await open_books(worker)
    await add_customer(worker, "other")
    await books.facility()
    await books.pue(START, pue="1.37", host_mw_per_gpu=77_777)
    prices = ["81.31", "-12.07", "140.9"]
    edges = [START + timedelta(seconds=n * 1_250) for n in range(4)]
    await books.tariff(list(zip(edges, edges[1:], prices, strict=False)))
    await books.lease(START, START + timedelta(hours=1), rate="1.7", all_in=False)
    halves: dict[str, Any] = {"gpu_parts": 3_500_000, "gpu_split": "weights"} if beside else {}
    for model in ("llama", "mistral") if beside else ("llama",):
        await books.deployment(
            START,
            START + timedelta(hours=1),
            deployment_id=model,
            model=model,
            gpus=["GPU-1"],
            weights=WEIGHTS,
            **halves,
        )
    counter, readings = 10**9, []
    for second in range(0, 3_601, 10):
        readings.append((START + timedelta(seconds=second), counter))
        counter += rng.randrange(500_000, 7_000_000)
    await books.readings("GPU-1", readings)
    events = [served(rng, name, n) for n in range(12) for name in ("acme", "other")]
    if beside:
        await add_customer(worker, "third")
        of_third = [served(rng, "third", n) for n in range(12)]
        for event in of_third:
            event["data"]["served_model"] = "mistral"
        events += of_third
    await Gate(worker).send(keyed(*events))
    mended = events[0]["data"] | {"usage": events[2]["data"]["usage"]}
    change = correction("c-1", of="acme-0", revision=1) | {"time": events[0]["time"]}
    change["data"] = mended | {"revision": 1, "supersedes": "acme-0"}
    await Gate(worker).send(keyed(change))
    await allocate(worker, now=LATER)


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another engine"])
async def test_all_events_of_a_day_add_up_to_the_lines_of_their_keys(
    worker: Connection, *, beside: bool
) -> None:
    await build(worker, beside=beside)
    cut_off = await draw_cut_off(worker, "trace event")
    windows = [START + n * WINDOW for n in range(4)]
    for name in ("acme", "other", *(["third"] if beside else [])):
        costs = [
            await trace_event(worker, f"{name}-{n}", source=None, cut_off=cut_off)
            for n in range(12)
        ]
        (key,) = {each.usage_key_id for each in costs}
        lines = await find_key_lines(
            worker, key, entity_ids=["factory"], windows=windows, batch_seq=cut_off.batch_seq
        )
        assert len(lines) >= 3
        whole = sum((share_of(line) for line in lines), Share())
        assert sum((each.taken for each in costs), Share()) == whole
        assert all(whole.parts()[n] for n in (0, 2, 3, 4, 5, 6))
        assert any(len(each.parts) == 2 for each in costs)
        assert all(0 < part <= WHOLE for each in costs for p in each.parts for _, part in p.slots)


async def test_an_event_is_named_so_that_it_can_be_one_only(worker: Connection) -> None:
    await build(worker)
    again = attempt("acme-1", minute=20) | {"source": "/gateways/eu-2"}
    placed = attempt("x", minute=20, tokens=77)
    await Gate(worker).send(keyed(again), sequenced([placed]))
    await allocate(worker, now=LATER)
    cut_off = await draw_cut_off(worker, "trace event")
    with pytest.raises(ConflictError, match="2 sources"):
        await trace_event(worker, "acme-1", source=None, cut_off=cut_off)
    other = await trace_event(worker, "acme-1", source="/gateways/eu-2", cut_off=cut_off)
    assert other.attempt["output"] == 20
    by_place = await trace_event(worker, "p1/1/1/0", source=None, cut_off=cut_off)
    assert by_place.attempt["output"] == 154
    for unknown in ("nobody", "p1/1/1/1"):
        with pytest.raises(NotFoundError, match="There is no event"):
            await trace_event(worker, unknown, source=None, cut_off=cut_off)


@settings(max_examples=at_depth(40))
@given(ATTEMPTS.filter(bool), st.lists(st.integers(0, 10**13), min_size=7, max_size=7), st.data())
def test_parts_of_a_line_add_up_to_it(
    attempts: list[dict[str, int]], numbers: list[int], data: st.DataObject
) -> None:
    rows = [
        {**row, "engine_key_id": row["engine"], "instance": str(row["engine"])} for row in attempts
    ]
    taken_back = data.draw(st.lists(st.sampled_from(rows), max_size=3))
    frame = pl.DataFrame(rows + [{**row, "sign": -1} for row in taken_back]).drop("engine")
    key = data.draw(st.sampled_from([row["usage_key_id"] for row in attempts]))
    parts = parts_of_line([serving(frame)], key, Share(*numbers))
    assert sum((part.taken for part in parts), Share()) == Share(*numbers)
    signs = frame.filter(pl.col("usage_key_id") == key)["sign"].sum()
    assert sum(part.alike for part in parts) == signs


def serving(frame: pl.DataFrame) -> Serving:
    """A deployment's window in which these ran."""
    window = Period(T0, T0 + WINDOW)
    assert micros(window.start) == BASE
    chat = Deployment("chat", "factory", "rack", "llama", None, 1, (), (), T0, None)
    return Serving(
        CostScope(chat.scope, window, None, "EUR", chat.weights),
        chat,
        None,
        Served.of(frame),
        Decimal(9),
    )
