"""What was spent comes to the same by who used what, by kind of cost and by day."""

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.flows.cost.accrue import accrue
from ledger.flows.cost.allocate import allocate
from ledger.reports.cost.costs import COSTS
from ledger.reports.items_csv import items_csv
from ledger.reports.report import Asked, ReportTable, Warned
from ledger.store.queries import Connection
from tests.support.books import Books, Buyer, Tokens

FIRST = datetime(2026, 3, 2, tzinfo=UTC)
SECOND, THIRD = FIRST + timedelta(days=1), FIRST + timedelta(days=2)
START, END = SECOND - timedelta(hours=1), SECOND + timedelta(hours=1)
QUARTER = timedelta(minutes=15)
HOUR_MJ = 3_600_000_000
BUYERS = (Buyer(tier="batch"), Buyer(tier="real-time"))


@pytest.fixture
async def books(worker: Connection) -> Books:
    """A GPU of 1 kW from an hour before midnight to an hour behind it, at 2 EUR an hour: power is
    100 and then 300 EUR/MWh, the site takes half as much again, and its rent is 1 EUR an hour."""
    made = Books(worker)
    await made.entity()
    await made.customer()
    await made.facility()
    await made.lease(START, END, rate="2", all_in=False)
    await made.pue(FIRST, pue="1.5")
    await made.tariff([(FIRST, SECOND, "100"), (SECOND, THIRD, "300")])
    await made.deployment(START, END, gpus=["GPU-a"])
    steps = range(0, 2 * 3_600 + 1, 30)
    await made.readings("GPU-a", [(START + timedelta(seconds=s), s * 1_000_000) for s in steps])
    return made


async def told(connection: Connection, by: str = "tier") -> tuple[Any, Mapping[str, Any]]:
    report = await COSTS.at_once(
        connection,
        entity_id="factory",
        period=(FIRST, THIRD),
        asked=Asked({"by": by}),
        purpose="test",
    )
    return report, COSTS.to_json(report)


async def settled(connection: Connection) -> None:
    await allocate(connection, now=THIRD)
    await accrue(connection, now=THIRD)


async def used(books: Books) -> None:
    """An hour's work before midnight; behind it nobody does anything."""
    for n in range(4):
        for buyer, output in zip(BUYERS, (100, 300), strict=True):
            await books.usage(START + n * QUARTER, Tokens(output=output), buyer=buyer)
    await books.site_cost("rent", FIRST, THIRD, amount="1", per="hour")


async def test_each_kind_and_each_day_says_what_it_came_to(
    worker: Connection, books: Books
) -> None:
    await used(books)
    await settled(worker)
    _, said = await told(worker)
    assert said["missing"] is None
    kinds = {each["kind"]: (Decimal(each["amount"]), each["percent"]) for each in said["kinds"]}
    assert kinds == {
        "electricity": (Decimal("0.4"), "0.8"),
        "overhead": (Decimal("0.2"), "0.4"),
        "hardware": (Decimal(4), "7.6"),
        "rent": (Decimal(48), "91.3"),
    }
    assert [each["day"] for each in said["days"]] == [FIRST.date(), SECOND.date()]
    assert [each["energy_mj"] for each in said["days"]] == [HOUR_MJ * 3 // 2] * 2
    amounts = ("electricity", "overhead", "gpu_cost", "site_cost", "cost", "idle", "unattributed")
    assert [[Decimal(each[name]) for name in amounts] for each in said["days"]] == [
        [Decimal(text) for text in ("0.1", "0.05", "2", "24", "26.15", "0", "0")],
        [Decimal(text) for text in ("0.3", "0.15", "2", "24", "26.45", "2.45", "0")],
    ]
    batch, real_time = said["items"]
    own = [Decimal(each["cost_before_idle"]) for each in (batch, real_time)]
    assert own == [Decimal("0.5375"), Decimal("1.6125")]
    assert Decimal(batch["cost_per_million_before_idle"]) == Decimal("1343.75")
    assert not {"revenue", "gross_margin_pct", "conversions"} & {*said, *batch}


@pytest.mark.parametrize("by", ["tier", "customer,tier", "model", "agent"])
async def test_groups_kinds_and_days_come_to_the_same(
    worker: Connection, books: Books, by: str
) -> None:
    await used(books)
    await settled(worker)
    report, said = await told(worker, by)
    whole = Decimal(said["total"]["cost"])
    assert whole == Decimal("52.6")
    assert sum(Decimal(each["amount"]) for each in said["kinds"]) == whole
    assert sum(Decimal(each["cost"]) for each in said["days"]) == whole
    assert sum(each["energy_mj"] for each in said["days"]) == said["energy_mj"]
    assert COSTS.csv is not None
    lines = [*csv.DictReader(items_csv(COSTS.csv(said)).splitlines())]
    assert sum(Decimal(line["cost"] or 0) for line in lines) == whole
    shown = [*COSTS.show(report, Asked({"by": by}))]
    tables = [each for each in shown if isinstance(each, ReportTable)]
    assert [each.title for each in tables] == ["Cost", "By kind", "By day"]
    assert all(len(row) == len(each.columns) for each in tables for row in each.rows)
    *rows, last = tables[0].rows
    for at, column in enumerate(tables[0].columns):
        if column in ("kWh", "electricity", "GPU cost", "idle share", "cost"):
            cells = [Decimal(str(row[at])) for row in rows if row[at] != "–"]
            assert abs(sum(cells) - Decimal(str(last[at]))) < Decimal("0.05"), column
    assert "cost of each day: ▇█" in shown, "the second cost more"


async def test_revenue_that_no_rate_converts_hides_no_cost(
    worker: Connection, books: Books
) -> None:
    await used(books)
    await books.charge(START, "3", buyer=BUYERS[0], currency="USD")
    await settled(worker)
    _, said = await told(worker)
    assert (said["currency"], Decimal(said["total"]["cost"])) == ("EUR", Decimal("52.6"))


async def test_a_cost_that_lacks_something_is_unknown_everywhere(
    worker: Connection, books: Books
) -> None:
    await used(books)
    await allocate(worker, now=THIRD)
    report, said = await told(worker)
    assert "accrue" in said["missing"]
    assert (said["kinds"], said["days"], said["total"]["cost"]) == (None, None, None)
    assert said["items"][0]["output_tokens"] == 400
    shown: Sequence[object] = [*COSTS.show(report, Asked({"by": "tier"}))]
    (warned,) = [each for each in shown if isinstance(each, Warned)]
    assert warned.text.startswith("Cost is unknown. ")
    (table,) = [each for each in shown if isinstance(each, ReportTable)]
    assert {row[-3] for row in table.rows} == {"–"}, "unknown is not zero, in its total either"
