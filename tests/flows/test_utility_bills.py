"""Bills of utilities that come later: costs of a site add up to them, and so does what is owed."""

import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, InvalidInputError, LedgerError, NotFoundError
from ledger.flows.books.book_cost import book_cost
from ledger.flows.books.check_books import check_books
from ledger.flows.cost.accrue import accrue
from ledger.flows.cost.allocate import allocate
from ledger.flows.reference.enter import enter_tariff_prices
from ledger.reports.cost.bills import BillsReport, bills_report
from ledger.reports.cost.sites import sites_report
from ledger.store.connect import draw_cut_off
from ledger.store.cost.utility_bills import list_bills_off
from ledger.store.queries import Connection
from ledger.wire.errors import InputError
from ledger.wire.inputs import read_input
from ledger.wire.tariff_inputs import NewTariffPrices
from tests.support.bills import enter_bill
from tests.support.books import Books

AUTHOR = Author("tester", "a test", "request-1")
CHICAGO = ZoneInfo("America/Chicago")
GPU = "GPU-a"


def local(day: int, hour: int = 0, month: int = 3) -> datetime:
    """A local moment of March 2023, whose 12th has 23 hours there."""
    return datetime(2023, month, day, hour, tzinfo=CHICAGO).astimezone(UTC)


FIRST, END, LATER = local(10), local(15), local(1, month=6)
DAYS = ("2023-03-10", "2023-03-14")


async def site(books: Books) -> None:
    """A site in Chicago with one leased GPU, whose electricity costs 100 a MWh, and a fee."""
    await books.entity(currency="USD", zone="America/Chicago")
    await books.facility(zone="America/Chicago")
    await books.pue(FIRST, LATER, pue="1.5")
    await books.tariff([(FIRST, LATER, "100")], currency="USD")
    await books.lease(FIRST, LATER, rate="0", currency="USD", all_in=False)
    await books.deployment(FIRST, LATER, gpus=[GPU])
    await books.site_cost("network fee", FIRST, LATER, amount="1", per="day", currency="USD")


async def drew(
    books: Books, since: datetime, until: datetime, kw: int, *, after_kwh: int = 0
) -> None:
    """A counter that grows by so many kW, read each hour."""
    hours = (until - since) // timedelta(hours=1)
    at = [
        (since + timedelta(hours=n), 10**6 + (after_kwh + n * kw) * 3_600_000_000)
        for n in range(hours + 1)
    ]
    await books.readings(GPU, at, power_mw=kw * 1_000_000)


async def bill(connection: Connection, amount: str, **said: object) -> None:
    """A bill of the five days."""
    days = {"first_day": DAYS[0], "last_day": DAYS[1]}
    covers = ["electricity", "network fee"]
    usual = {**days, "kwh": "180", "tax": "2", "currency": "USD", "covers": covers}
    await enter_bill(connection, DAYS[0], amount, **(usual | said))


async def priced(connection: Connection, since: datetime, hours: int, price: str) -> None:
    """Another price of a MWh for some hours."""
    starts = [since + timedelta(hours=n) for n in range(hours)]
    prices = [
        {"start": f"{at:%Y-%m-%dT%H:%M:%SZ}", "resolution_minutes": 60, "price_per_mwh": price}
        for at in starts
    ]
    new = read_input(NewTariffPrices, {"tariff_id": "power", "prices": prices})
    await enter_tariff_prices(connection, new, AUTHOR, replace=True)


async def settle(connection: Connection) -> None:
    for stage in (allocate, book_cost, accrue):
        await stage(connection, now=LATER)


async def costs(connection: Connection) -> dict[str, Decimal]:
    """What the site cost in the five days, by name."""
    cut_off = await draw_cut_off(connection, "report")
    found = await sites_report(
        connection, entity_id="factory", since=FIRST, until=END, cut_off=cut_off
    )
    return {name: amount for _, name, _, amount in found.totals}


async def compared(connection: Connection) -> BillsReport:
    cut_off = await draw_cut_off(connection, "report")
    return await bills_report(
        connection, entity_id="factory", since=FIRST, until=END, cut_off=cut_off
    )


async def balances(connection: Connection) -> dict[tuple[str, str], Decimal]:
    """What stands on each account and dimension of the five days; nothing where it is zero."""
    rows = await connection.fetch(
        """SELECT account, dimension, sum(amount) AS amount FROM journal_entry
             JOIN posting USING (entry_id) WHERE booked_for >= $1 AND booked_for < $2
            GROUP BY 1, 2 HAVING sum(amount) <> 0""",
        *(FIRST, END),
    )
    return {(row["account"], row["dimension"]): row["amount"] for row in rows}


async def test_a_bill_makes_up_what_its_days_were_accrued_at(worker: Connection) -> None:
    books = Books(worker)
    await site(books)
    await drew(books, FIRST, local(11), 1)
    await drew(books, local(13), END, 1, after_kwh=24)
    await settle(worker)
    # 72 hours at 1 kW, half again for the site, 0.10 a kWh; and a fee of 1 a day.
    assert await costs(worker) == {"electricity": Decimal("10.8"), "network fee": 5}
    await bill(worker, "20")
    await settle(worker)
    after = await costs(worker)
    assert after == {
        "electricity": Decimal("10.8"),
        "network fee": 5,
        "utility bill": Decimal("4.2"),
    }
    by_day = await worker.fetch(
        "SELECT day_start, sum(amount) AS amount FROM site_cost WHERE name = 'utility bill'"
        " GROUP BY 1 ORDER BY 1"
    )
    # 3.6 and 1 on the days it ran, 1 on the two it did not.
    parts = [Decimal(n) for n in ("4.6", "1", "1", "4.6", "4.6")]
    exact = [part * Decimal("4.2") / Decimal("15.8") for part in parts]
    assert [row["amount"] for row in by_day] == pytest.approx(exact, abs=Decimal("1e-12"))
    assert sum(row["amount"] for row in by_day) == Decimal("4.2")
    stands = await balances(worker)
    assert {account for account, _ in stands} == {"1200", "2000", "5010", "5020", "5300"}
    assert stands["2000", ""] == -22
    assert stands["1200", ""] == 2
    variance = {account: each for (account, what), each in stands.items() if what == "utility bill"}
    assert sum(variance.values()) == Decimal("4.2")
    # As accrued: 7.2 of devices at rest, 3.6 of the site, 5 of the fee.
    assert variance["5010"] == pytest.approx(2 * variance["5020"], abs=Decimal("1e-11"))
    assert not (await check_books(worker)).differing
    assert (await accrue(worker, now=LATER)).rows_written == 0


Step = Callable[[], Awaitable[None]]


def steps(books: Books, at_random: random.Random) -> list[Step]:
    """What may happen in any order, but that the last bill comes after those it corrects."""
    connection = books.connection

    async def corrected(amount: str, *, final: bool = True) -> None:
        tax = "-2" if amount.startswith("-") else "2"
        await bill(connection, amount, tax=tax, replace=True, final=final)

    amounts = [str(Decimal(at_random.randint(-500, 5_000)) / 100) for _ in range(2)]
    bills: list[Step] = [
        lambda: corrected("9", final=False),
        lambda: corrected(amounts[0]),
        lambda: corrected(amounts[1]),
        lambda: corrected("17.000000000001"),
    ]
    others: list[Step] = [
        lambda: drew(books, FIRST, local(11), 1),
        lambda: drew(books, local(12), local(13), 2),
        lambda: drew(books, local(13, 5), local(14, 7), 3),
        lambda: priced(connection, local(12), 30, "73.123457"),
        lambda: priced(connection, local(13, 3), 9, "-10"),
    ]
    at_random.shuffle(others)
    ordered = list(bills)
    for step in others:
        ordered.insert(at_random.randint(0, len(ordered)), step)
    return ordered


@pytest.mark.parametrize("seed", range(2))
async def test_in_whatever_order_days_add_up_to_the_last_final_bill(
    worker: Connection, seed: int
) -> None:
    books, at_random = Books(worker), random.Random(seed)
    await site(books)
    for step in steps(books, at_random):
        await step()
        if at_random.random() < 0.5:
            await settle(worker)
    await settle(worker)
    found = await costs(worker)
    assert sum(found.values()) == Decimal("17.000000000001")
    stands = await balances(worker)
    assert stands["2000", ""] == Decimal("-19.000000000001")
    assert not {("2100", ""), ("2150", "")} & stands.keys()
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for (account, _), amount in stands.items():
        totals[account[0]] += amount
    assert totals["5"] == Decimal("17.000000000001")
    assert not (await check_books(worker)).differing


async def test_an_estimated_bill_makes_up_nothing_and_a_final_one_takes_its_place(
    worker: Connection,
) -> None:
    books = Books(worker)
    await site(books)
    await drew(books, FIRST, END, 1)
    await bill(worker, "50", bill_id="guess", final=False)
    await settle(worker)
    assert "utility bill" not in await costs(worker)
    assert ("2000", "") not in await balances(worker)
    assert [each.compared.bill.final for each in (await compared(worker)).bills] == [False]
    await bill(worker, "23")
    await settle(worker)
    assert sum((await costs(worker)).values()) == 23
    assert [each.compared.bill.bill_id for each in (await compared(worker)).bills] == ["esb-1"]
    with pytest.raises(ConflictError, match="The final utility bill esb-1"):
        await bill(worker, "50", bill_id="guess", final=False)


async def test_a_bill_moved_to_other_days_leaves_the_first_as_they_were(worker: Connection) -> None:
    books = Books(worker)
    await site(books)
    await drew(books, FIRST, END, 1)
    await settle(worker)
    before = await balances(worker)
    await bill(worker, "30")
    await settle(worker)
    assert await balances(worker) != before
    april = {"first_day": "2023-04-01", "last_day": "2023-04-30", "kwh": "0"}
    await bill(worker, "30", replace=True, **april)
    await settle(worker)
    assert await balances(worker) == before
    assert not (await check_books(worker)).differing


async def test_bills_are_shown_beside_meters_and_accruals(worker: Connection) -> None:
    books = Books(worker)
    await site(books)
    await drew(books, FIRST, local(14), 1)
    await settle(worker)
    # 95 hours: the 12th has 23 of them.
    metered = Decimal("142.5")
    await bill(worker, "19", kwh="145")
    await settle(worker)
    (shown,) = (await compared(worker)).bills
    assert Decimal(shown.compared.metered_mj) == metered * 3_600_000_000
    assert shown.compared.accrued == Decimal("14.25") + 5
    assert shown.compared.energy_off_pct == Decimal("1.75")
    assert (shown.compared.days, shown.compared.days_without_readings) == (5, 1)
    assert shown.compared.reasons == ("days_without_readings",)
    assert await list_bills_off(worker, now=LATER) == []
    await bill(worker, "29", kwh="185", replace=True)
    (shown,) = (await compared(worker)).bills
    assert shown.compared.amount_off_pct == Decimal("50.65")
    assert shown.compared.reasons == ("days_without_readings", "energy_off", "amount_off")
    await settle(worker)
    (off,) = await list_bills_off(worker, now=LATER)
    assert (off.accrued, off.amount_off_pct) == (Decimal("19.25"), Decimal("50.65"))


WRONG: dict[str, tuple[dict[str, object], type[LedgerError], str]] = {
    "days to come": ({"last_day": "2199-01-01"}, InvalidInputError, "are not over"),
    "no site": ({"facility_id": "elsewhere"}, NotFoundError, "no facility elsewhere"),
    "no GPU then": (
        {"first_day": "2022-01-01", "last_day": "2022-01-31"},
        InvalidInputError,
        "No GPU of ours",
    ),
    "a currency": ({"currency": "EUR"}, InvalidInputError, "is in USD then, the bill in EUR"),
    "Wh": ({"kwh": "180000"}, InvalidInputError, "Send kWh, not Wh"),
    "MWh": ({"kwh": "0.18"}, InvalidInputError, "Send kWh, not Wh"),
    "nothing used": ({"kwh": "0"}, InvalidInputError, "Send kWh"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_bill_that_cannot_be_is_refused_by_name(worker: Connection, what: str) -> None:
    books = Books(worker)
    await site(books)
    await drew(books, FIRST, END, 1)
    await settle(worker)
    said, refusal, message = WRONG[what]
    with pytest.raises(refusal, match=message):
        await bill(worker, "20", **said)
    assert await worker.fetchval("SELECT count(*) FROM utility_bill") == 0


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"kwh": "-1"}, "kwh"),
        ({"last_day": "2023-03-09"}, "last_day"),
        ({"covers": ["electricity", "electricity"]}, "covers"),
        ({"covers": ["utility bill"]}, "covers"),
        ({"tax": "-2"}, "tax"),
    ],
)
async def test_fields_of_a_bill_have_bounds(
    worker: Connection, said: dict[str, object], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        await bill(worker, "20", **said)


async def test_bills_of_the_same_days_contradict_each_other(worker: Connection) -> None:
    books = Books(worker)
    await site(books)
    await bill(worker, "20")
    await bill(worker, "20")
    assert await worker.fetchval("SELECT count(*) FROM utility_bill") == 1
    with pytest.raises(ConflictError, match="esb-1 of site is already recorded"):
        await bill(worker, "21")
    with pytest.raises(ConflictError, match="none is cut"):
        await bill(worker, "9", bill_id="esb-2", last_day="2023-03-12", replace=True)
    await bill(worker, "90", bill_id="esb-2", last_day="2023-03-31", replace=True)
    open_bills = await worker.fetch("SELECT bill_id FROM utility_bill WHERE upper_inf(recorded)")
    assert [row["bill_id"] for row in open_bills] == ["esb-2"]
