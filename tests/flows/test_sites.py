"""What sites cost: utility rates by the hour and the month, standing costs, taxes, bills."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, InvalidInputError
from ledger.flows.cost.accrue import accrue
from ledger.flows.cost.allocate import allocate
from ledger.flows.reference.enter_site_cost import enter_site_cost
from ledger.reports.cost.margin import MarginReport, margin_report
from ledger.reports.cost.sites import SitesReport, sites_report
from ledger.store.api_reads import sum_hourly
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from ledger.wire.inputs import read_input
from ledger.wire.site_inputs import NewSiteCost
from tests.support.added_up import adds_up
from tests.support.books import Books, Buyer, Tokens

AUTHOR = Author("tester", "a test", "request-1")
CHICAGO = ZoneInfo("America/Chicago")
GPU = "GPU-a"
# What a site adds is most of it, so that one board's counter can stand for a large site.
PUE = 40
KW = 1_000_000 // PUE


def local(year: int, month: int, day: int, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=CHICAGO).astimezone(UTC)


MARCH, APRIL, MAY = local(2023, 3, 1), local(2023, 4, 1), local(2023, 5, 1)
LATER = local(2023, 6, 1)


async def site(books: Books, since: datetime, until: datetime, price: str = "100") -> None:
    """A site in Chicago with one leased GPU, at a flat price of a MWh."""
    await books.entity(currency="USD", zone="America/Chicago")
    await books.facility(zone="America/Chicago")
    await books.pue(since, until, pue=str(PUE))
    await books.tariff([(since, until, price)], currency="USD")
    await books.lease(since, until, rate="0", currency="USD", all_in=False)
    await books.deployment(since, until, gpus=[GPU])


async def steady(books: Books, since: datetime, until: datetime, power_kw: int) -> None:
    """A counter read each quarter hour at a constant power."""
    quarters = (until - since) // timedelta(minutes=15)
    at = [since + n * timedelta(minutes=15) for n in range(quarters + 1)]
    await books.readings(GPU, [(t, 10**6 + n * 900 * power_kw * KW) for n, t in enumerate(at)])


async def enter(connection: Connection, name: str, **said: object) -> None:
    """A cost of the site; `replace` supersedes what it overlaps."""
    replace = said.pop("replace", False) is True
    raw = {"facility_id": "site", "name": name, "currency": "USD", **said}
    new = read_input(NewSiteCost, raw)
    await enter_site_cost(connection, new, AUTHOR, replace=replace)


def valid(since: datetime, until: datetime | None = None) -> dict[str, object]:
    """A validity as it is sent."""
    text: dict[str, object] = {"valid_from": since.isoformat().replace("+00:00", "Z")}
    return text if until is None else text | {"valid_to": until.isoformat().replace("+00:00", "Z")}


async def shown(connection: Connection, since: datetime, until: datetime) -> SitesReport:
    cut_off = await draw_cut_off(connection, "report")
    return await sites_report(
        connection, entity_id="factory", since=since, until=until, cut_off=cut_off
    )


async def costs(connection: Connection, since: datetime, until: datetime) -> dict[str, Decimal]:
    found = await shown(connection, since, until)
    return {name: amount for _, name, _, amount in found.totals}


async def margin(connection: Connection, since: datetime, until: datetime) -> MarginReport:
    cut_off = await draw_cut_off(connection, "report")
    return await margin_report(
        connection,
        entity_id="factory",
        since=since,
        until=until,
        cut_off=cut_off,
        without=("cost",),
    )


async def test_a_demand_charge_accrues_by_day_and_is_settled_at_the_months_end(
    worker: Connection,
) -> None:
    books = Books(worker)
    await site(books, MARCH, APRIL)
    base = 10**6
    peak = local(2023, 3, 20)
    readings = [(MARCH, base), (local(2023, 3, 2), base + 24 * 3_600 * 10 * KW)]
    quarter = timedelta(minutes=15)
    kept = readings[-1][1]
    readings += [(peak, kept), (peak + quarter, kept + 900 * 40 * KW)]
    await books.readings(GPU, readings)
    await enter(worker, "demand", demand={"rates": [[{"price": "10"}]]}, **valid(MARCH))
    await allocate(worker, now=LATER)
    await accrue(worker, now=LATER)
    found = await shown(worker, MARCH, APRIL)
    demand = {one.day.day: one.amount for one in found.days if one.name == "demand"}
    assert demand == {1: 100, 20: 300}
    assert found.energy[0].peak_mj == 900 * 40 * KW * PUE
    again = await accrue(worker, now=LATER)
    assert again.rows_written == 0


async def test_what_a_later_reading_changes_is_a_difference_of_its_day(worker: Connection) -> None:
    books = Books(worker)
    await site(books, MARCH, APRIL)
    await enter(worker, "demand", demand={"rates": [[{"price": "10"}]]}, **valid(MARCH))
    await accrue(worker, now=LATER)
    assert await costs(worker, MARCH, APRIL) == {}
    await books.readings(GPU, [(MARCH, 1), (MARCH + timedelta(minutes=15), 1 + 900 * 40 * KW)])
    await allocate(worker, now=LATER)
    assert (await accrue(worker, now=LATER)).rows_written == 1
    assert (await costs(worker, MARCH, APRIL))["demand"] == 400
    booked = await worker.fetchval("SELECT sum(amount) FROM posting WHERE account = '5300'")
    assert booked == 400


async def test_tiers_are_the_difference_to_the_first_of_them(worker: Connection) -> None:
    books = Books(worker)
    await site(books, MARCH, APRIL)
    await steady(books, MARCH, local(2023, 3, 3), 10)
    tiers = [
        {"price": "0.10", "up_to": "100"},
        {"price": "0.06", "up_to": "400"},
        {"price": "0.05"},
    ]
    await enter(worker, "energy tiers", tiers={"rates": [tiers]}, **valid(MARCH, APRIL))
    await allocate(worker, now=LATER)
    await accrue(worker, now=LATER)
    found = await costs(worker, MARCH, APRIL)
    assert found == {"electricity": 48, "energy tiers": Decimal("-16")}
    assert sum(found.values()) == 100 * Decimal("0.10") + 300 * Decimal("0.06") + 80 * Decimal(
        "0.05"
    )


async def test_standing_costs_by_month_day_hour_and_gpu_hour_fill_short_and_long_days(
    worker: Connection,
) -> None:
    books = Books(worker)
    await site(books, MARCH, APRIL)
    terms = {
        "network": {"amount": "743", "per": "month"},
        "meter": {"amount": "3.298", "per": "day"},
        "staff": {"amount": "50", "per": "hour", "share": "0.5"},
        "licences": {"amount": "0.25", "per": "gpu_hour"},
    }
    for name, standing in terms.items():
        await enter(worker, name, standing=standing, **valid(MARCH))
    await accrue(worker, now=LATER)
    # March 2023 has 743 hours in Chicago.
    assert await costs(worker, MARCH, APRIL) == {
        "network": 743,
        "meter": Decimal("3.298") * 31,
        "staff": 25 * 743,
        "licences": Decimal("0.25") * 743,
    }
    short = await costs(worker, local(2023, 3, 12), local(2023, 3, 13))
    assert short["network"] == 23
    assert short["meter"] == Decimal("3.298")


async def test_a_tax_is_of_what_the_site_came_to_and_a_bill_of_all(worker: Connection) -> None:
    books = Books(worker)
    await site(books, MARCH, MAY)
    await steady(books, MARCH, local(2023, 3, 3), 10)
    await enter(worker, "fee", standing={"amount": "31", "per": "month"}, **valid(MARCH, APRIL))
    tax = {"percent": "25", "of": ["electricity", "fee"]}
    await enter(worker, "tax", percent=tax, **valid(MARCH, APRIL))
    await allocate(worker, now=LATER)
    await accrue(worker, now=LATER)
    before = await costs(worker, MARCH, APRIL)
    assert before == {"electricity": 48, "fee": 31, "tax": Decimal("19.75")}
    bill = {"amount": "100", "of": ["electricity", "fee", "tax"]}
    await enter(worker, "bill of all", bill=bill, **valid(MARCH, APRIL))
    await accrue(worker, now=LATER)
    after = await costs(worker, MARCH, APRIL)
    assert after == before | {"bill of all": Decimal("1.25")}
    assert sum(after.values()) == 100
    by_day = {
        one.day.day: one.amount
        for one in (await shown(worker, MARCH, APRIL)).days
        if one.name == "bill of all"
    }
    assert len(by_day) == 31
    assert by_day[1] > by_day[20], "where more was used, more of it belongs"
    await enter(
        worker, "bill of all", bill=bill | {"amount": "98.75"}, replace=True, **valid(MARCH, APRIL)
    )
    await accrue(worker, now=LATER)
    assert await costs(worker, MARCH, APRIL) == before


async def test_a_bill_of_two_months_without_use_is_spread_by_day(worker: Connection) -> None:
    books = Books(worker)
    await site(books, MARCH, MAY)
    await enter(worker, "bill", bill={"amount": "61", "of": ["electricity"]}, **valid(MARCH, MAY))
    await accrue(worker, now=LATER)
    assert await costs(worker, MARCH, APRIL) == {"bill": 31}
    assert await costs(worker, APRIL, MAY) == {"bill": 30}


async def test_the_margin_holds_what_sites_cost_and_its_journal_too(worker: Connection) -> None:
    books = Books(worker)
    await site(books, MARCH, APRIL)
    await steady(books, MARCH, APRIL, 1)
    await enter(worker, "fee", standing={"amount": "31", "per": "month"}, **valid(MARCH, APRIL))
    await allocate(worker, now=LATER)
    report = await margin(worker, MARCH, APRIL)
    assert report.missing is not None
    assert "run `accrue` first" in report.missing
    await accrue(worker, now=LATER)
    report = await margin(worker, MARCH, APRIL)
    assert report.missing is None
    assert report.site_cost == 31
    assert report.cost == 31 + Decimal("74.3")
    booked = await worker.fetch(
        "SELECT account, dimension, sum(amount) AS amount FROM posting GROUP BY 1, 2 ORDER BY 1"
    )
    assert [tuple(row) for row in booked] == [("2150", "", -31), ("5300", "fee", 31)]


async def test_a_tax_of_what_nobody_entered_is_named_in_the_margin(worker: Connection) -> None:
    books = Books(worker)
    await site(books, MARCH, APRIL)
    await steady(books, MARCH, APRIL, 1)
    tax = {"percent": "25", "of": ["electricty"]}
    await enter(worker, "tax", percent=tax, **valid(MARCH, APRIL))
    await allocate(worker, now=LATER)
    await accrue(worker, now=LATER)
    report = await margin(worker, MARCH, APRIL)
    assert report.missing is not None
    assert "electricty in USD of facility site" in report.missing


async def test_nothing_is_accrued_of_days_that_have_not_begun(worker: Connection) -> None:
    books = Books(worker)
    await site(books, MARCH, MAY)
    await enter(worker, "fee", standing={"amount": "1", "per": "day"}, **valid(MARCH))
    await accrue(worker, now=local(2023, 3, 4, 12))
    assert await costs(worker, MARCH, MAY) == {"fee": 4}
    await accrue(worker, now=local(2023, 3, 5, 1))
    assert await costs(worker, MARCH, MAY) == {"fee": 5}


async def test_a_rate_ended_takes_back_what_it_had_accrued(worker: Connection) -> None:
    books = Books(worker)
    await site(books, MARCH, MAY)
    fee = {"amount": "1", "per": "day"}
    await enter(worker, "fee", standing=fee, **valid(MARCH, APRIL))
    await accrue(worker, now=LATER)
    dearer = fee | {"amount": "2"}
    await enter(worker, "fee", standing=dearer, replace=True, **valid(local(2023, 3, 31), APRIL))
    await accrue(worker, now=LATER)
    assert await costs(worker, MARCH, APRIL) == {"fee": 32}


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ({"demand": {"rates": [[{"price": "10"}]]}, **valid(local(2023, 3, 2))}, "whole months"),
        (
            {"demand": {"rates": [[{"price": "1"}]]}, **valid(MARCH, MARCH + timedelta(hours=9))},
            "mon",
        ),
        ({"percent": {"percent": "1", "of": ["fee"]}, **valid(MARCH + timedelta(hours=1))}, "days"),
    ],
    ids=["demand from the second day", "demand of nine hours", "tax from one o'clock"],
)
async def test_a_rule_of_the_month_is_of_whole_months(
    worker: Connection, said: dict[str, object], names: str
) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility(zone="America/Chicago")
    with pytest.raises(InvalidInputError, match=names):
        await enter(worker, "cost", **said)


async def test_two_bills_of_one_kind_and_time_contradict_each_other(worker: Connection) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility(zone="America/Chicago")
    bill = {"amount": "1", "of": ["electricity"]}
    await enter(worker, "bill", bill=bill, **valid(MARCH, APRIL))
    with pytest.raises(ConflictError, match="electricity is already billed by bill"):
        await enter(worker, "other bill", bill=bill, **valid(MARCH, MAY))
    with pytest.raises(ConflictError, match="already recorded"):
        await enter(worker, "bill", bill=bill | {"amount": "2"}, **valid(MARCH, APRIL))


async def leased_all_in(books: Books) -> None:
    """A site in Chicago with a GPU at 4 USD an hour, power paid, that serves one model."""
    await books.entity(currency="USD", zone="America/Chicago")
    await books.customer()
    await books.facility(zone="America/Chicago")
    await books.lease(MARCH, APRIL, rate="4", currency="USD")
    await books.deployment(MARCH, APRIL)
    await enter(books.connection, "rent", standing={"amount": "31", "per": "day"}, **valid(MARCH))


async def test_what_a_site_costs_is_shared_by_who_used_it_and_by_the_hour(
    worker: Connection,
) -> None:
    books = Books(worker)
    await leased_all_in(books)
    short, after = local(2023, 3, 12), local(2023, 3, 13)
    for tier, output in (("gold", 300), ("economy", 100)):
        await books.usage(short, Tokens(output=output), buyer=Buyer(tier=tier))
    await allocate(worker, now=LATER)
    await accrue(worker, now=LATER)
    report = await margin(worker, short, after)
    assert report.site_cost == 31
    shares = {row.group: row.site_share for row in report.rows}
    assert shares == {("gold",): Decimal("23.25"), ("economy",): Decimal("7.75")}
    assert report.sites_left == 0
    adds_up(report)
    assert sum(row.cost for row in report.rows) == report.cost == 31 + 23 * 4
    hours = await sum_hourly(
        worker, entity_id="factory", since=short, until=after, step="hour", zone_name="UTC"
    )
    assert len(hours) == 23
    assert sum(one.cost or 0 for one in hours) == report.cost


async def test_what_a_site_costs_is_nobodys_where_nobody_used_it(worker: Connection) -> None:
    await leased_all_in(Books(worker))
    await allocate(worker, now=LATER)
    await accrue(worker, now=LATER)
    report = await margin(worker, MARCH, local(2023, 3, 2))
    assert not report.rows
    assert [report.sites_left, report.site_cost] == [31, 31]
    adds_up(report)
