"""Efficiency by what is kept by day, and by kinds that hold context and steps as well."""

import csv
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.period import DAY
from ledger.embedded.postgres import EmbeddedServer
from ledger.flows.books.book_cost import book_cost
from ledger.flows.cost.allocate import allocate
from ledger.flows.cost.thin import thin
from ledger.flows.metering.tally import tally
from ledger.reports.cost.csv_lines import group_lines
from ledger.reports.cost.efficiency import EFFICIENCY, efficiency_report
from ledger.reports.cost.producers import producers_report
from ledger.reports.items_csv import items_csv
from ledger.reports.report import ReportScope
from ledger.store.connect import connect, draw_cut_off
from ledger.store.queries import Connection
from tests.support.books import Books, Buyer, Tokens
from tests.support.database import fresh_database
from tests.support.one_gpu import GPU, LATER, QUARTER, START, one_gpu, steady
from tests.support.weights import enter_measured

MIDNIGHT = START.replace(hour=0)
LETS_GO = LATER + DAY
BYS = (("model",), ("customer", "agent"), ("customer", "day"))


async def told(connection: Connection, *by: str, since: datetime, until: datetime) -> Any:
    """The report as a program has it, but for its cut-off."""
    report = await efficiency_report(
        connection,
        entity_id="factory",
        since=since,
        until=until,
        cut_off=await draw_cut_off(connection, "report"),
        by=by,
    )
    said = dict(EFFICIENCY.to_json(report))
    del said["cut_off_id"]
    return said


async def a_day(connection: Connection) -> Books:
    """An hour of work of two buyers who ask for other kinds of tokens."""
    books = Books(connection)
    await one_gpu(books)
    await books.grid_factor("carbon_location", MIDNIGHT, MIDNIGHT + DAY, "400")
    await books.readings(GPU, steady(range(0, 3601, 10)))
    for number in range(4):
        window = START + number * QUARTER
        await books.usage(window, Tokens(uncached=1_000, output=10 * number))
        other = Buyer(agent_id="other")
        await books.usage(window, Tokens(cache_write=70, output=700), buyer=other)
    await allocate(connection, now=LATER)
    return books


async def test_whole_days_need_no_line_that_was_let_go(worker: Connection) -> None:
    await a_day(worker)
    asked = {"since": MIDNIGHT, "until": MIDNIGHT + DAY}
    before = [await told(worker, *by, **asked) for by in BYS]
    await book_cost(worker, now=LETS_GO)
    await thin(worker, now=LETS_GO)
    assert await worker.fetchval("SELECT count(*) FROM cost_share") == 0
    await tally(worker, now=LETS_GO)
    assert [await told(worker, *by, **asked) for by in BYS] == before
    assert await worker.fetchval("SELECT count(*) FROM cost_share") == 0
    assert before[0]["total"]["cost"] is not None


async def settled_by_day(connection: Connection) -> None:
    await allocate(connection, now=LATER)
    await book_cost(connection, now=LETS_GO)
    await thin(connection, now=LETS_GO)
    await tally(connection, now=LETS_GO)


async def test_who_has_a_later_difference_counts_once_among_those_who_share_a_kind(
    server: EmbeddedServer, roomy: str
) -> None:
    """The last quarter hour is somebody's own, whose line of the day no late token changes."""
    known = []
    for is_late in (False, True):
        with fresh_database(server, roomy) as database:
            connection = await connect(database.worker_url)
            books = await a_day(connection)
            lone = Buyer(agent_id="lone")
            await books.usage(START + 3 * QUARTER, Tokens(uncached=500, output=90), buyer=lone)
            if is_late:
                await settled_by_day(connection)
            await books.usage(START, Tokens(output=1))
            await settled_by_day(connection)
            since, until = MIDNIGHT, MIDNIGHT + DAY
            known.append(await told(connection, "agent", since=since, until=until))
            await connection.close()
    first, later = known
    assert [row["agent"] for row in first["items"]] == ["", "lone", "other"]
    assert later == first


async def test_lines_of_csv_come_to_the_total(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.grid_factor("carbon_location", MIDNIGHT, MIDNIGHT + DAY, "400")
    await books.readings(GPU, steady(range(0, 3601, 10)))
    await books.usage(START, Tokens(uncached=1_000, output=10))
    await allocate(worker, now=LATER)
    said = await told(worker, "agent", since=MIDNIGHT, until=MIDNIGHT + DAY)
    lines = [*csv.DictReader(items_csv(group_lines(said)).splitlines())]
    assert {line["line"] for line in lines} == {"used", "idle"}
    for name in ("energy_mj", "cost", "carbon_location_g"):
        whole = sum(Decimal(line[name]) for line in lines)
        assert whole == Decimal(said["total"][name]) > 0


async def test_days_come_to_what_their_windows_do(worker: Connection) -> None:
    await a_day(worker)
    by_day = await told(worker, "customer", "agent", since=MIDNIGHT, until=MIDNIGHT + DAY)
    # A quarter hour less is no whole day, and nothing happened in it.
    by_window = await told(worker, "customer", "agent", since=MIDNIGHT + QUARTER, until=LATER)
    for whole, part in zip(by_day["items"], by_window["items"], strict=True):
        for name in ("agent", "energy_mj", "cost", "carbon_location_g", "tokens"):
            assert whole[name] == part[name]


async def test_users_are_told_apart_by_any_of_their_names(worker: Connection) -> None:
    books = await a_day(worker)
    await books.usage(START, Tokens(output=9), buyer=Buyer(project_id="lab", agent_id="other"))
    await allocate(worker, now=LATER)
    asked = {"since": MIDNIGHT, "until": MIDNIGHT + DAY}
    names = ("project", "api_key", "adapter", "region", "tier")
    found = await told(worker, "agent", *names, **asked)
    assert [
        (row["agent"], row["project"], row["tier"], row["output_tokens"]) for row in found["items"]
    ] == [
        ("", "", "standard", 60),
        ("other", "", "standard", 2_800),
        ("other", "lab", "standard", 9),
    ]
    assert all(row[name] == "" for row in found["items"] for name in names[1:4])
    by_agent = await told(worker, "agent", **asked)
    others = [row["energy_mj"] for row in found["items"] if row["agent"] == "other"]
    assert sum(others) == by_agent["items"][1]["energy_mj"]


async def test_types_of_gpu_are_ranked(worker: Connection) -> None:
    books = await a_day(worker)
    end = START + QUARTER
    await books.lease(START, end, asset_id="other", gpu_type="H200", all_in=False)
    await books.deployment(
        *(START, end), deployment_id="other", asset_id="other", gpus=["GPU-b"], instances=["b"]
    )
    await books.readings("GPU-b", steady(range(0, 901, 10), power_mw=1_000))
    await books.usage(START, Tokens(output=50_000), instance="b")
    await allocate(worker, now=LATER)
    cut_off = await draw_cut_off(worker, "report")
    scope = ReportScope(entity_id="factory", since=START, until=end, cut_off=cut_off)
    report = await producers_report(worker, scope, by="gpu_type")
    assert [each.name for each in report.items] == ["H200", "(not said)"]


async def test_kinds_add_up_to_what_their_deployment_took(worker: Connection) -> None:
    await a_day(worker)
    (row,) = (await told(worker, "model", since=MIDNIGHT, until=MIDNIGHT + DAY))["items"]
    stored = await worker.fetchrow(
        """SELECT sum(uncached_mj), sum(cache_read_mj), sum(cache_write_mj), sum(output_mj),
                  sum(uncached_cost), sum(cache_read_cost), sum(cache_write_cost), sum(output_cost)
             FROM allocations_at(as_it_stands()) WHERE line = 'usage'"""
    )
    assert stored is not None
    told_of = [kind["energy_mj"] for kind in row["kinds"]]
    told_of += [Decimal(kind["cost"]) for kind in row["kinds"]]
    assert told_of == [*stored]


async def test_answers_have_their_steps(worker: Connection) -> None:
    """100 tokens of prompts at 1; 20 of answers, at 2 and in a step at 10 each, by the set in
    force."""
    books = Books(worker)
    await one_gpu(books)
    await enter_measured(worker, START, uncached=1, cache_read=0, cache_write=1, output=2, step=10)
    await books.readings(GPU, steady(range(0, 3601, 10)))
    await books.usage(START, Tokens(uncached=100, output=20))
    await allocate(worker, now=LATER)
    (row,) = (await told(worker, "model", since=MIDNIGHT, until=MIDNIGHT + DAY))["items"]
    uncached, _, _, output = (kind["energy_mj"] for kind in row["kinds"])
    assert uncached / output == pytest.approx(100 / (20 * 2 + 20 * 10), rel=1e-3)
