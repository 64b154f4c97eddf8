"""Exports of real books: they add up, and the same cut-off gives the same bytes for ever."""

import csv
import io
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from ledger.domain.errors import InvalidInputError, MissingInputError, NotFoundError
from ledger.exports import EXPORT_FORMATS
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.cost.accrue import accrue
from ledger.flows.cost.allocate import allocate
from ledger.reports.books.export import BooksOf, How, export_file, find_format
from ledger.store.connect import CutOff, draw_cut_off
from ledger.store.queries import Connection
from tests.flows.billing import (
    AUTHOR,
    DECEMBER,
    JANUARY,
    NOVEMBER,
    NOW,
    WINDOW,
    azure_hours,
    settled,
    subscribed,
)
from tests.support.books import Books, Tokens

WITHOUT_COST = ("journal_lines", "invoices", "invoice_lines", "usage", "beancount", "hledger")


async def invoiced(connection: Connection) -> Books:
    books = await subscribed(connection)
    await azure_hours(books)
    await settled(connection)
    await issue_invoice(
        connection, subscription_id="sub-acme", moment=WINDOW, now=NOW, author=AUTHOR
    )
    return books


async def exported(
    connection: Connection,
    *formats: str,
    cut_off: CutOff | None = None,
    since: datetime = NOVEMBER,
    until: datetime = JANUARY,
    entity_id: str = "factory",
    how: How | None = None,
) -> dict[str, bytes]:
    books = BooksOf(entity_id, since, until, cut_off or await draw_cut_off(connection, "export"))
    files = {}
    for name in formats:
        parts = export_file(connection, name, books, how or How())
        files[find_format(name).filename] = b"".join([part async for part in parts])
    return files


async def test_invoices_are_of_usage_in_the_period_or_were_issued_in_it(
    worker: Connection,
) -> None:
    await invoiced(worker)
    (invoice,) = rows_of((await exported(worker, "invoices"))["invoices.csv"])
    used = (
        datetime.fromisoformat(invoice["period_start"]),
        datetime.fromisoformat(invoice["period_end"]),
    )
    issued_on = datetime.fromisoformat(f"{invoice['issued_on']}T12:00:00+00:00")
    issued = issued_on - timedelta(days=1), issued_on + timedelta(days=1)
    assert issued[0] >= used[1]
    for (since, until), by, count in (
        (used, "service", 1),
        (used, "issue", 0),
        (issued, "service", 0),
        (issued, "issue", 1),
    ):
        files = await exported(
            *(worker, "invoices", "invoice_lines"),
            since=since,
            until=until,
            how=How(invoices_by=by),
        )
        assert len(rows_of(files["invoices.csv"])) == count
        assert bool(rows_of(files["invoice_lines.csv"])) == bool(count)
    with pytest.raises(InvalidInputError, match="Choose by service or issue"):
        How(invoices_by="date")


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


async def test_the_files_say_what_the_books_say(worker: Connection) -> None:
    await invoiced(worker)
    files = await exported(worker, *WITHOUT_COST)
    journal = rows_of(files["journal_lines.csv"])
    revenue = [Decimal(row["credit"]) for row in journal if row["account_code"] == "4000"]
    assert sum(revenue) == Decimal("93.98831")
    assert {row["document_no"] for row in journal} == {"", "FACTORY-2023-000001"}
    (invoice,) = rows_of(files["invoices.csv"])
    assert (invoice["exact_total"], invoice["payable"]) == ("93.98831", "93.99")
    assert invoice["rounding"] == "-0.00169"
    lines = rows_of(files["invoice_lines.csv"])
    assert [line["amount"] for line in lines] == ["90.30", "3.69"]
    tokens = rows_of(files["usage.csv"])
    assert sum(int(row["input_uncached"]) for row in tokens) == 18_059_974
    assert sum(int(row["output_visible"]) for row in tokens) == 245_896


async def test_a_cut_off_gives_the_same_bytes_after_everything_went_on(worker: Connection) -> None:
    books = await invoiced(worker)
    cut_off = await draw_cut_off(worker, "export")
    before = await exported(worker, *WITHOUT_COST, cut_off=cut_off)
    await books.usage(WINDOW, Tokens(output=1_000_000))
    await books.usage(DECEMBER, Tokens(output=1_000_000))
    await settled(worker)
    await issue_invoice(
        worker, subscription_id="sub-acme", moment=DECEMBER, now=JANUARY, author=AUTHOR
    )
    assert await exported(worker, *WITHOUT_COST, cut_off=cut_off) == before
    assert await exported(worker, *WITHOUT_COST, until=JANUARY) != before


async def test_costs_and_margins_are_exported_too(worker: Connection) -> None:
    books = await subscribed(worker, prices=("0", "10000"))
    await books.facility()
    await books.lease(NOVEMBER, DECEMBER, rate="4", currency="USD")
    await books.deployment(NOVEMBER, DECEMBER)
    await books.usage(NOVEMBER, Tokens(output=300), busy=range(450))
    quarter = NOVEMBER.replace(minute=15)
    with pytest.raises(MissingInputError):
        await exported(worker, "margins", since=NOVEMBER.replace(month=10))
    await allocate(worker, now=quarter)
    files = await exported(worker, "costs", "margins", until=quarter)
    costs = rows_of(files["costs.csv"])
    assert {row["line"]: row["cost"] for row in costs} == {"usage": "0.50", "idle": "0.50"}
    await books.site_cost("rent", NOVEMBER, DECEMBER, amount="72", per="month", currency="USD")
    await accrue(worker, now=NOVEMBER + timedelta(days=2))
    sites = await exported(worker, "site_costs", until=NOVEMBER + timedelta(days=1))
    (rent,) = rows_of(sites["site_costs.csv"])
    assert (rent["facility_id"], rent["name"], rent["amount"]) == ("site", "rent", "2.40")
    (margin,) = rows_of(files["margins.csv"])
    assert (margin["cost"], margin["revenue"], margin["gross_margin_pct"]) == (
        *("1.00", "3.00"),
        "66.67",
    )


async def test_what_cannot_be_exported_says_why(worker: Connection) -> None:
    with pytest.raises(NotFoundError, match="no entity"):
        await exported(worker, "usage")
    await subscribed(worker)
    with pytest.raises(InvalidInputError, match=", ".join(EXPORT_FORMATS)):
        await exported(worker, "excel")
