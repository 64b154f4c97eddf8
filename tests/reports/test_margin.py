"""A margin names its parts, keeps idle apart, and is refused where cost is unknown."""

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from ledger.domain.errors import InvalidInputError, MissingInputError
from ledger.flows.cost.allocate import allocate
from ledger.reports.cost.margin import MarginReport, margin_report
from ledger.reports.cost.margin_json import to_json
from ledger.reports.cost.margin_text import to_table
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from tests.support.added_up import adds_up
from tests.support.books import Books, Buyer, Tokens

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
END = START + 4 * QUARTER
TODAY = datetime(2026, 3, 2, tzinfo=UTC)
LATER = datetime(2026, 3, 3, tzinfo=UTC)
GPU = "GPU-a"
REAL_TIME = Buyer(tier="real-time")
BATCH = Buyer(tier="batch")


@pytest.fixture
async def books(worker: Connection) -> Books:
    """A leased, all-in GPU at 4 EUR an hour serves one model for an hour."""
    made = Books(worker)
    await made.entity()
    await made.customer()
    await made.facility()
    await made.lease(START, END, rate="4")
    await made.deployment(START, END)
    return made


async def margin(
    connection: Connection, *, entity_id: str = "factory", by: tuple[str, ...] = ("tier",)
) -> MarginReport:
    cut_off = await draw_cut_off(connection, "report")
    return await margin_report(
        connection, entity_id=entity_id, since=TODAY, until=LATER, cut_off=cut_off, by=by
    )


async def test_idle_is_a_line_of_its_own_before_a_named_policy_spreads_it(
    worker: Connection, books: Books
) -> None:
    await books.usage(START, Tokens(output=300), buyer=REAL_TIME, busy=range(450))
    await books.usage(START, Tokens(output=100), buyer=BATCH, busy=range(450))
    await books.charge(START, "3", buyer=REAL_TIME)
    await books.charge(START, "1", buyer=BATCH)
    await allocate(worker, now=LATER)
    report = await margin(worker)
    batch, real_time = report.rows
    assert [row.group for row in report.rows] == [("batch",), ("real-time",)]
    assert (batch.cost_before_idle, real_time.cost_before_idle) == (
        Decimal("0.125"),
        Decimal("0.375"),
    )
    assert report.idle_cost == Decimal("3.5")
    assert "idle of deployment:chat, at rest" in [row[0] for row in to_table(report)[1]]
    assert (batch.idle_share, real_time.idle_share) == (Decimal("0.875"), Decimal("2.625"))
    assert report.cost == Decimal(4)
    assert "proportion" in report.idle_policy


async def test_gross_margin_and_mark_up_are_named_apart(worker: Connection, books: Books) -> None:
    await books.usages([(START + n * QUARTER, Tokens(output=1), REAL_TIME) for n in range(4)])
    await books.charge(START, "16", buyer=REAL_TIME)
    await allocate(worker, now=LATER)
    row = to_json(await margin(worker))["items"][0]
    assert (row["gross_margin_pct"], row["markup_pct"]) == ("75.00", "300.00")
    assert row["revenue"] == "16"


async def test_nothing_is_left_over_of_energy_or_cost(worker: Connection, books: Books) -> None:
    await books.usage(START, Tokens(output=7), buyer=REAL_TIME)
    await allocate(worker, now=LATER)
    kept = (await margin(worker)).conservation
    assert (kept.energy_residual_mj, kept.cost_residual) == (0, Decimal(0))
    assert kept.pools == 4


async def test_conservation_notices_a_lost_line(owner: Connection, worker: Connection) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.lease(START, END, rate="4")
    await books.deployment(START, END)
    await allocate(worker, now=LATER)
    await owner.execute("ALTER TABLE cost_day_line DISABLE TRIGGER append_only")
    await owner.execute("DELETE FROM cost_day_line")
    assert (await margin(worker)).conservation.cost_residual == 4


async def test_margin_without_any_cost_is_refused_by_name(worker: Connection) -> None:
    books = Books(worker)
    await books.entity()
    await books.usage(START, Tokens(output=7))
    with pytest.raises(MissingInputError, match="missing are its assets and deployments"):
        await margin(worker)


async def test_usage_that_no_deployment_served_refuses_the_margin(
    worker: Connection, books: Books
) -> None:
    await books.usage(START, Tokens(output=7), buyer=Buyer(model="other"))
    await allocate(worker, now=LATER)
    with pytest.raises(MissingInputError, match="deployment of model other"):
        await margin(worker)


async def test_margin_before_allocation_is_refused(worker: Connection, books: Books) -> None:
    await books.usage(START, Tokens(output=7))
    with pytest.raises(MissingInputError, match="run `allocate` first"):
        await margin(worker)


async def test_lease_without_power_asks_for_tariff_pue_and_gpus(worker: Connection) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.lease(START, END, all_in=False)
    await books.deployment(START, END)
    await allocate(worker, now=LATER)
    with pytest.raises(MissingInputError) as refused:
        await margin(worker)
    for name in ("PUE of facility site", "tariff", "GPUs of deployment chat"):
        assert name in refused.value.wrong


async def test_tariff_that_ends_early_is_missing_from_there(worker: Connection) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.pue(START, END)
    await books.tariff([(START, START + QUARTER, "100")])
    await books.lease(START, END, all_in=False)
    await books.deployment(START, END, gpus=[GPU])
    await books.readings(
        GPU, [(START + timedelta(seconds=10 * n), 1_000_000 * n) for n in range(361)]
    )
    await allocate(worker, now=LATER)
    with pytest.raises(
        MissingInputError, match=r"tariff in EUR .*from 2026-03-02T10:15Z to 2026-03-02T11:00Z"
    ):
        await margin(worker)


async def test_revenue_in_another_currency_needs_a_rate_and_names_both(
    worker: Connection, books: Books
) -> None:
    await books.usages([(START + n * QUARTER, Tokens(output=1), REAL_TIME) for n in range(4)])
    await books.charge(START, "10", buyer=REAL_TIME, currency="USD")
    await allocate(worker, now=LATER)
    with pytest.raises(MissingInputError, match=r"USD.*EUR.*USD/EUR of 2026-03-02"):
        await margin(worker)
    await books.fx("USD", "EUR", date(2026, 3, 2), "0.8")
    report = await margin(worker)
    assert report.total.revenue == Decimal(8)
    assert report.conversions[0].multiplier == Decimal("0.8")


async def revenue_over(connection: Connection, since: datetime, until: datetime) -> MarginReport:
    cut_off = await draw_cut_off(connection, "report")
    return await margin_report(
        connection, entity_id="factory", since=since, until=until, cut_off=cut_off
    )


async def test_each_day_of_usage_takes_the_rate_last_published_for_it(
    worker: Connection, books: Books
) -> None:
    await books.usages([(START + n * QUARTER, Tokens(output=1), REAL_TIME) for n in range(4)])
    friday, days = datetime(2026, 3, 27, 12, tzinfo=UTC), timedelta(days=1)
    # Palm Sunday's weekend, then Good Friday to Easter Monday: what was published before serves.
    for day, amount in ((0, "1"), (2, "10"), (3, "100"), (10, "1000")):
        await books.charge(friday + day * days, amount, buyer=REAL_TIME, currency="USD")
    await allocate(worker, now=LATER)
    for published, rate in (
        (date(2026, 3, 27), "0.5"),
        (date(2026, 3, 30), "0.25"),
        (date(2026, 4, 2), "0.125"),
        (date(2026, 4, 7), "0.75"),
    ):
        await books.fx("USD", "EUR", published, rate)
    report = await revenue_over(worker, START, friday + 12 * days)
    assert report.total.revenue == Decimal("0.5") + 5 + 25 + 125
    assert [str(rate.published) for rate in report.conversions] == [
        *("2026-03-27", "2026-03-30", "2026-04-02"),
    ]
    # The rate of the period's last day is not asked for, nor what it would be.
    await books.charge(friday + 30 * days, "1", buyer=REAL_TIME, currency="USD")
    with pytest.raises(MissingInputError, match=r"USD/EUR of 2026-04-26, or one of the 10 days"):
        await revenue_over(worker, START, friday + 31 * days)


async def test_rates_quoted_the_other_way_and_by_a_third_currency_serve(
    worker: Connection, books: Books
) -> None:
    await books.usages([(START + n * QUARTER, Tokens(output=1), REAL_TIME) for n in range(4)])
    await books.charge(START, "10", buyer=REAL_TIME, currency="USD")
    await allocate(worker, now=LATER)
    await books.fx("CHF", "EUR", date(2026, 2, 27), "0.5")
    await books.fx("CHF", "USD", date(2026, 2, 27), "4")
    assert (await margin(worker)).total.revenue == Decimal("1.25")
    await books.fx("EUR", "USD", date(2026, 3, 2), "1.1684")
    report = await margin(worker)
    assert report.total.revenue == Decimal("8.558712769599")
    assert to_json(report)["conversions"] == [
        {
            "base": "USD",
            "quote": "EUR",
            "published": date(2026, 3, 2),
            "multiplier": "1",
            "divisor": "1.1684",
            "source": "test",
        }
    ]


async def test_unknown_customer_carries_its_share_as_a_line_of_its_own(
    worker: Connection, books: Books
) -> None:
    stranger = Buyer(customer_id=None, customer_ref="walk-in", entity_id=None)
    await books.usages([(START, Tokens(output=30), Buyer()), (START, Tokens(output=10), stranger)])
    await allocate(worker, now=LATER)
    rows = {row.group: row for row in (await margin(worker, by=("customer",))).rows}
    assert rows["(unknown) walk-in",].cost_before_idle == Decimal("0.25")
    assert rows["(unknown) walk-in",].output == 10
    assert rows["acme",].cost_before_idle == Decimal("0.75")


async def test_report_at_an_old_cut_off_stays_what_it_was(worker: Connection, books: Books) -> None:
    await books.usage(START, Tokens(output=1), buyer=REAL_TIME)
    await allocate(worker, now=LATER)
    before = await margin(worker)
    await books.usage(START, Tokens(output=9), buyer=BATCH)
    await allocate(worker, now=LATER)
    again = await margin_report(
        worker, entity_id="factory", since=TODAY, until=LATER, cut_off=before.cut_off
    )
    assert to_json(again) == to_json(before)
    assert len((await margin(worker)).rows) == 2


async def test_table_has_one_cell_for_every_header(worker: Connection, books: Books) -> None:
    await books.usage(START, Tokens(output=1), buyer=REAL_TIME, busy=range(100))
    await allocate(worker, now=LATER)
    headers, rows = to_table(await margin(worker, by=("tier", "customer")))
    assert {len(row) for row in rows} == {len(headers)}
    assert rows[-1][0] == "total"


async def test_columns_of_energy_cost_and_shares_add_up_in_the_table(
    worker: Connection, books: Books
) -> None:
    await books.usage(START, Tokens(output=1), buyer=REAL_TIME, busy=range(100))
    await allocate(worker, now=LATER)
    report = await margin(worker)
    assert any(row[0].startswith("idle of") for row in to_table(report)[1])
    adds_up(report)


@pytest.mark.parametrize("by", [(), ("colour",)])
async def test_grouping_by_nothing_known_is_refused(
    worker: Connection, books: Books, by: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidInputError, match="Group by some of tier, customer, agent, model"):
        await margin(worker, by=by)


NAMES = ("customer", "tier", "model", "agent", "project", "api_key", "adapter", "region")


async def any_buyer(worker: Connection, chance: random.Random) -> tuple[Buyer, dict[str, str]]:
    """One that says one of several things, or nothing, of each name, and what it says."""
    said = {name: chance.choice(("", "one", "two")) for name in NAMES}
    said |= {"customer": "acme", "tier": "batch", "model": "llama"}
    ref = "/".join(said.values())
    buyer = Buyer(
        customer_ref=ref, tier="batch", agent_id=said["agent"], project_id=said["project"]
    )
    await worker.execute(
        """INSERT INTO usage_key (usage_key_id, entity_id, customer_id, customer_ref, tier, model,
                                  agent_id, project_id, api_key_id, adapter, region)
           VALUES ($1, 'factory', $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING""",
        *(buyer.usage_key_id, said["customer"], ref, *(said[name] for name in [*NAMES][1:])),
    )
    return buyer, said


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_rows_are_told_apart_by_they_come_to_the_same(
    worker: Connection, books: Books, seed: int
) -> None:
    chance = random.Random(seed)
    tokens: dict[Buyer, int] = {}
    revenue: dict[Buyer, Decimal] = {}
    names: dict[Buyer, dict[str, str]] = {}
    for _ in range(12):
        buyer, said = await any_buyer(worker, chance)
        names[buyer] = said
        start = START + chance.randrange(4) * QUARTER
        output, amount = chance.randrange(1, 999), Decimal(chance.randrange(999)).scaleb(-2)
        await books.usage(start, Tokens(output=output), buyer=buyer, busy=range(500))
        await books.charge(start, str(amount), buyer=buyer)
        tokens[buyer] = tokens.get(buyer, 0) + output
        revenue[buyer] = revenue.get(buyer, Decimal(0)) + amount
    await allocate(worker, now=LATER)
    whole = (await margin(worker, by=("customer",))).total
    for by in [(name,) for name in NAMES] + [tuple(chance.sample([*NAMES], 3)) for _ in range(3)]:
        report = await margin(worker, by=by)
        assert replace(report.total, group=whole.group) == whole
        for row in report.rows:
            mine = [b for b in tokens if tuple(names[b][name] for name in by) == row.group]
            assert row.output == sum(tokens[buyer] for buyer in mine)
            assert row.revenue == sum(revenue[buyer] for buyer in mine)
            assert (row.cost > 0) == (row.output > 0)
        assert adds_up(report)[: len(by)] == list(by)


async def test_energy_of_a_gpu_nobody_deploys_now_asks_for_its_tariff_too(
    worker: Connection,
) -> None:
    books = Books(worker)
    half = START + 2 * QUARTER
    await books.entity()
    await books.facility()
    await books.pue(START, END)
    await books.tariff([(START, half, "100")])
    await books.lease(START, END, all_in=False)
    await books.deployment(START, half, gpus=[GPU])
    await books.readings(
        GPU, [(START + timedelta(seconds=10 * n), 1_000_000 * n) for n in range(361)]
    )
    await allocate(worker, now=LATER)
    with pytest.raises(MissingInputError, match=r"tariff in EUR .*from 2026-03-02T10:30Z"):
        await margin(worker)
    await books.tariff([(half, END, "100")])
    await allocate(worker, now=LATER)
    report = await margin(worker)
    assert report.unattributed_cost > 0
    assert report.conservation.energy_residual_mj == 0
