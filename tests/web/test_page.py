"""The page in a real browser: what it shows is what the books say, at the desk and in the hand."""

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from ledger import clock
from ledger.domain.author import Author
from ledger.domain.period import HOUR
from ledger.flows.books.close_month import close_month
from ledger.flows.cost.allocate import allocate
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.keys import create_api_key
from ledger.settings import Settings
from ledger.store.queries import Connection
from ledger.wire.inputs import NewApiKey
from tests.api.served import application, serve
from tests.api.test_connections import listening
from tests.flows.billing import WINDOW, subscribed
from tests.support.books import Books, Buyer, Tokens
from tests.support.database import Database
from tests.support.waiting import PATIENCE_S

WIDTHS = (1280, 390)
AUTHOR = Author("cli:test", "for a test", "req-1")
# In one step of the page: between two questions it may draw another table.
COUNTS = "['button.file', '.scroll table'].map((kind) => document.querySelectorAll(kind).length)"


@dataclass(frozen=True, slots=True)
class Shown:
    """Where the page is, and the key of each role."""

    url: str
    keys: dict[str, str]


@pytest.fixture
async def shown(database: Database, worker: Connection) -> AsyncIterator[Shown]:
    """Usage of acme in November 2023 and of nobody in a second entity; no cost is known."""
    async with serve(database, worker) as served:
        await served.books.usage(WINDOW, Tokens(uncached=1_000_000, output=200_000), buyer=Buyer())
        await subscribed(worker, customer_id="other", entity_id="second")
        await rate(worker, entity_id="factory", now=clock.now())
        second = await create_api_key(worker, NewApiKey(role="finance", entity_id="second"), AUTHOR)
        settings = Settings(worker_url=database.worker_url, api_url=database.api_url)
        with application(settings) as app, listening(app) as port:
            yield Shown(f"http://127.0.0.1:{port}/", served.keys | {"second": second.text})


@asynccontextmanager
async def opened(
    browser: Browser, shown: Shown, key: str, width: int = 1280
) -> AsyncIterator[Page]:
    """The page as somebody with this key sees it; an error of its scripts fails the test."""
    context = await browser.new_context(
        viewport={"width": width, "height": 900}, accept_downloads=True
    )
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_S * 1000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    await page.goto(shown.url)
    await page.fill("#key", key)
    await page.click("#door button")
    try:
        yield page
        assert wrong == []
    finally:
        await context.close()


@pytest.mark.parametrize("width", WIDTHS)
async def test_the_house_sees_revenue_without_any_cost(
    browser: Browser, shown: Shown, width: int
) -> None:
    async with opened(browser, shown, shown.keys["finance"], width) as page:
        await expect(page.locator("#figures .figure").first).to_contain_text("8.00USD")
        await expect(page.locator("#figures .missing")).to_contain_text(
            "Cost and margin are not known"
        )
        await expect(page.locator("#groups tbody")).to_contain_text("8.00 USD")
        await expect(page.locator("#days .chart canvas")).to_be_visible()
        await expect(page.locator("#days .u-legend")).not_to_contain_text("–")
        await expect(page.locator("#month")).to_have_value("2023-11")
        await expect(page.locator("#zone")).to_have_text("UTC")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", WIDTHS)
async def test_the_house_sees_what_was_spent_on_what_and_who_makes_tokens_of_it(
    browser: Browser, shown: Shown, worker: Connection, width: int
) -> None:
    books = Books(worker)
    await books.facility()
    await books.lease(WINDOW, WINDOW + HOUR, rate="4", currency="USD")
    await books.deployment(WINDOW, WINDOW + HOUR)
    await allocate(worker, now=clock.now())
    async with opened(browser, shown, shown.keys["finance"], width) as page:
        await expect(page.locator("#kinds tbody")).to_contain_text("hardware4.00100.0 %")
        await expect(page.locator("#producers tbody tr")).to_have_count(1)
        await expect(page.locator("#producers tbody")).to_contain_text("20.00")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
    async with opened(browser, shown, shown.keys["second"], width) as page:
        await expect(page.locator("#invoices")).to_be_visible()
        await expect(page.locator("#kinds")).to_be_hidden()


@pytest.mark.parametrize("by", ["tier", "customer", "model", "agent"])
async def test_the_house_groups_by_what_it_likes(browser: Browser, shown: Shown, by: str) -> None:
    async with opened(browser, shown, shown.keys["finance"]) as page:
        await page.select_option("#by", by)
        await expect(page.locator("#groups h2")).to_have_text(f"By {by}")
        await expect(page.locator("#groups th").first).to_have_text(by)
        await expect(page.locator("#groups tbody tr")).to_have_count(1)


@pytest.mark.parametrize("width", WIDTHS)
async def test_a_customer_sees_its_spend_and_the_invoice_to_come(
    browser: Browser, shown: Shown, width: int
) -> None:
    async with opened(browser, shown, shown.keys["customer"], width) as page:
        coming = page.locator("#coming")
        await expect(coming).to_contain_text("Spend this month so far")
        await expect(coming.locator(".figure").first).to_contain_text("8.00USD")
        await expect(coming).to_contain_text("2023-11-01 to 2023-11-30")
        said = re.compile("Uncached input tokens, llama, tier standard.* per 1.000.000")
        await expect(coming.locator("tbody")).to_contain_text(said)
        until = coming.locator(".figure", has_text="Charged up to what came until")
        await expect(until).to_contain_text(re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"))
        await expect(page.locator("#usage-days tbody tr td").first).to_have_text("2023-11-16")
        for by in ("api_key", "agent"):
            await page.select_option("#by", by)
            await expect(page.locator("#groups tbody")).to_contain_text("8.00 USD")
        await expect(page.locator("text=margin")).to_have_count(0)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_another_entity_keeps_nothing_of_the_last_one(browser: Browser, shown: Shown) -> None:
    async with opened(browser, shown, shown.keys["admin"]) as page:
        await page.select_option("#entity", "factory")
        await expect(page.locator("#month")).to_have_value("2023-11")
        await page.select_option("#entity", "second")
        await expect(page.locator("#as-of")).to_contain_text("There is no usage yet")
        await expect(page.locator("#month option")).to_have_count(0)
        await expect(page.locator("#figures")).to_have_count(0)


async def test_a_month_that_closed_says_so_to_the_house_alone(
    browser: Browser, shown: Shown, worker: Connection
) -> None:
    await close_month(
        worker,
        entity_id="factory",
        month="2023-11",
        soft=True,
        now=clock.now(),
        author=AUTHOR,
    )
    for role, said in (("finance", "2023-11, soft closed"), ("customer", "2023-11")):
        async with opened(browser, shown, shown.keys[role]) as page:
            await expect(page.locator("#month option")).to_have_text(said)
            await expect(page.locator("#month")).to_have_value("2023-11")


async def test_a_late_answer_for_the_last_entity_is_not_drawn(
    browser: Browser, shown: Shown
) -> None:
    async with opened(browser, shown, shown.keys["admin"]) as page:
        await expect(page.locator("#month")).to_have_value("2023-11")
        released = asyncio.Event()

        async def late(route: Route) -> None:
            await released.wait()
            await route.continue_()

        await page.route("**/v1/activity?entity=factory*", late)
        await page.evaluate("document.getElementById('entity').onchange()")
        await page.select_option("#entity", "second")
        await expect(page.locator("#as-of")).to_contain_text("There is no usage yet")
        async with page.expect_response("**/v1/activity?entity=factory*") as answer:
            released.set()
        await (await answer.value).finished()
        await page.evaluate("new Promise((resolve) => setTimeout(resolve, 300))")
        await expect(page.locator("#month option")).to_have_count(0)
        await expect(page.locator("#figures")).to_have_count(0)


@pytest.mark.parametrize(
    ("key", "said"), [("tlk_wrong", "unknown or revoked"), ("ingest", "reads nothing")]
)
async def test_any_refused_key_says_so(browser: Browser, shown: Shown, key: str, said: str) -> None:
    async with opened(browser, shown, shown.keys.get(key, key)) as page:
        await expect(page.locator("#refused")).to_contain_text(said)
        await expect(page.locator("#door")).to_be_visible()
        await expect(page.locator("#books")).to_be_hidden()


async def test_a_key_of_one_entity_sees_that_entity(browser: Browser, shown: Shown) -> None:
    async with opened(browser, shown, shown.keys["second"]) as page:
        await expect(page.locator("#entity option")).to_have_count(1)
        await expect(page.locator("#as-of")).to_contain_text("There is no usage yet")


async def test_every_table_has_its_file_with_what_it_shows(
    browser: Browser, shown: Shown, tmp_path: Path
) -> None:
    async with opened(browser, shown, shown.keys["finance"]) as page:
        await expect(page.locator("#groups tbody tr")).to_have_count(1)
        # Each is drawn when its answer comes: the last of them has to be there.
        await page.wait_for_load_state("networkidle")
        files, tables = await page.evaluate(COUNTS)
        assert files == tables > 1
        async with page.expect_download() as loading:
            await page.click("#groups button.file")
        await (await loading.value).save_as(tmp_path / "groups.csv")
    (row,) = csv.DictReader(io.StringIO((tmp_path / "groups.csv").read_text(encoding="utf-8")))
    assert (Decimal(row["revenue"]), row["currency"]) == (Decimal(8), "USD")


async def test_an_error_stands_where_its_figures_would_and_goes_with_them(
    browser: Browser, shown: Shown
) -> None:
    async with opened(browser, shown, shown.keys["finance"]) as page:
        await expect(page.locator("#invoices")).to_contain_text("No invoice yet.")
        await page.route("**/v1/invoices?**", lambda route: route.fulfill(status=503, body="{}"))
        await page.click("#scope button")
        await expect(page.locator("#invoices .error")).to_be_visible()
        await expect(page.locator("#figures .figure").first).to_contain_text("8.00USD")
        await page.unroute("**/v1/invoices?**")
        await page.click("#scope button")
        await expect(page.locator("#invoices .error")).to_have_count(0)
