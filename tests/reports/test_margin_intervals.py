"""How far costs and margins may be off holds what they come to by other weights and meters."""

from collections.abc import Mapping
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from ledger.domain.errors import InvalidInputError
from ledger.flows.cost.allocate import allocate
from ledger.reports.cost.csv_lines import margin_lines
from ledger.reports.cost.margin_text import HEADERS, INTERVAL, MARGIN
from ledger.reports.items_csv import items_csv
from ledger.reports.report import Asked, ReportScope, ReportTable
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from ledger.wire.margin_answers import Margin
from ledger.wire.plain import plain_value
from tests.flows.test_weight_sets import EVIDENCE
from tests.support.books import Books, Buyer, Tokens
from tests.support.one_gpu import GPU, LATER, QUARTER, START, one_gpu, steady
from tests.support.weights import enter_measured

FITTED = {"uncached": 60_000, "output": 360_000}
LOW = {"uncached": 54_000, "output": 350_000}
HIGH = {"uncached": 66_000, "output": 370_000}
READER, WRITER = Buyer(agent_id="reader"), Buyer(agent_id="writer")
CALIBRATED = {"source": "calibrated", "evidence": EVIDENCE | {"low": LOW, "high": HIGH}}
# What a meter may be off; the estimates of these tests are nothing.
METER = Decimal("0.05")


async def worked(connection: Connection, **weights: Any) -> Books:
    """A reader and a writer, one after the other and at once, and half of the time at rest."""
    books = Books(connection)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 3601, 10)))
    await enter_measured(connection, START, **FITTED | CALIBRATED | weights)
    for number in range(2):
        window = START + number * QUARTER
        await books.usage(window, Tokens(uncached=90_000, output=5_000), buyer=READER)
        await books.usage(window, Tokens(uncached=2_000, output=20_000), buyer=WRITER)
    for buyer, amount in ((READER, "0.2"), (WRITER, "0.3")):
        await books.charge(START, amount, buyer=buyer)
    await allocate(connection, now=LATER)
    return books


async def told(connection: Connection, **options: str) -> Any:
    """The margin as a program has it, held against what the API promises."""
    scope = ReportScope(
        entity_id="factory",
        since=START.replace(hour=0),
        until=LATER,
        cut_off=await draw_cut_off(connection, "report"),
    )
    asked = Asked({**MARGIN.defaults, "by": "agent", "intervals": "yes", **options})
    report = await MARGIN.read(connection, scope, asked)
    shown = list(MARGIN.show(report, asked))
    (table,) = (each for each in shown if isinstance(each, ReportTable))
    assert {len(row) for row in table.rows} == {len(table.columns)}
    said = dict(MARGIN.to_json(report))
    Margin.model_validate(plain_value(said))
    return said | {"table": table, "shown": "\n".join(map(str, shown))}


def within(value: str, ends: Mapping[str, str]) -> bool:
    return Decimal(ends["low"]) <= Decimal(value) <= Decimal(ends["high"])


async def test_what_other_weights_and_meters_say_lies_within(worker: Connection) -> None:
    await worked(worker)
    said = await told(worker)
    intervals = {row["agent"]: row["interval"] for row in said["items"]}
    margins = {row["agent"]: Decimal(row["gross_margin_pct"]) for row in said["items"]}
    widest = dict.fromkeys(intervals, Decimal(0))
    for version, ends in enumerate(product((LOW, HIGH), repeat=2), 3):
        other: dict[str, Any] = {name: of[name] for name, of in zip(FITTED, ends, strict=True)}
        other |= {"weight_set_id": f"by-{version}", "version": version, "replace": True}
        await enter_measured(worker, START, **other | CALIBRATED)
        await allocate(worker, now=LATER)
        for row in (await told(worker))["items"]:
            agent, interval = row["agent"], intervals[row["agent"]]
            # All of its electricity may be so much more or less as well.
            electricity = METER * Decimal(row["electricity"])
            for cost in (Decimal(row["cost"]) - electricity, Decimal(row["cost"]) + electricity):
                by_million = cost * 1_000_000 / (row["input_tokens"] + row["output_tokens"])
                margin = 100 * (1 - cost / Decimal(row["revenue"]))
                assert within(str(by_million), interval["cost_per_million"])
                assert within(f"{margin:.2f}", interval["gross_margin_pct"])
                widest[agent] = max(widest[agent], abs(margin - margins[agent]))
            assert within(row["joules_per_output_token"], interval["joules_per_output_token"])
    # And is no further than three times what these make of it.
    for agent, interval in intervals.items():
        ends = interval["gross_margin_pct"]
        assert Decimal(ends["high"]) - Decimal(ends["low"]) < 6 * widest[agent]


async def test_the_total_is_as_sure_as_its_meters(worker: Connection) -> None:
    await worked(worker)
    said = await told(worker)
    total, lines = said["total"], said["own_lines"]
    cost, spent = Decimal(total["cost"]), [Decimal(each["electricity"]) for each in lines]
    electricity = sum(spent, Decimal(total["electricity"]))
    assert Decimal(total["interval"]["energy_percent"]) == 5
    percent = 100 * METER * electricity / cost
    assert Decimal(total["interval"]["cost_percent"]) == round(percent, 1)


async def test_what_nobody_fitted_is_unknown_but_for_all_together(worker: Connection) -> None:
    await worked(worker, source="declared", evidence=None)
    said = await told(worker)
    for row in said["items"]:
        assert {*row["interval"].values()} == {None}
    assert said["total"]["interval"]["gross_margin_pct"] is not None
    assert "declared and not fitted" in said["shown"]
    assert "declared and not fitted" not in (await told(worker, intervals="no"))["shown"]


async def test_costs_that_lack_something_have_no_interval(worker: Connection) -> None:
    books = await worked(worker)
    await books.close("tariff_price", "true")
    said = await told(worker)
    assert said["missing"]
    for row in (*said["items"], said["total"]):
        assert {*row["interval"].values()} == {None}


async def test_intervals_are_there_where_they_are_asked_for(worker: Connection) -> None:
    await worked(worker)
    said = await told(worker)
    table, (reader, _) = said["table"], said["items"]
    assert table.columns == ("agent", *HEADERS, *INTERVAL)
    ends = reader["interval"]["gross_margin_pct"]
    assert list(table.rows[0][-2:]) == [ends["low"], ends["high"]]
    header, line, *_ = items_csv(margin_lines(said)).splitlines()
    columns = dict(zip(header.split(","), line.split(","), strict=True))
    assert columns["interval.gross_margin_pct.low"] == ends["low"]
    plain = await told(worker, intervals="no")
    assert plain["table"].columns == ("agent", *HEADERS)
    assert "interval" not in items_csv(margin_lines(plain))
    with pytest.raises(InvalidInputError, match="yes or no"):
        await told(worker, intervals="some")
