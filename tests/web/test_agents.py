"""The page of one agent in a real browser: what it used, its runs, and what it may use."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from ledger import clock
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter_budget import enter_budget
from ledger.settings import Settings
from ledger.store.queries import Connection
from ledger.wire.budget_inputs import NewBudget
from ledger.wire.inputs import read_input
from tests.api.served import application, serve
from tests.api.test_connections import listening
from tests.flows.billing import WINDOW
from tests.support.database import Database
from tests.support.usage import AUTHOR, Gate, attempt, keyed
from tests.web.test_page import WIDTHS, Shown, opened

ODD = 'coder/"<b>ü'


@pytest.fixture
async def shown(database: Database, worker: Connection) -> AsyncIterator[Shown]:
    """A planner with one run and an agent of an odd name with seven, the last of two hours."""
    async with serve(database, worker) as served:
        budget = {"budget_id": "coding", "customer_id": "acme", "agent_id": ODD, "period": "day"}
        budget |= {"unit": "tokens", "amount": "1000", "zone": "UTC"}
        budget |= {"valid_from": "2023-11-01T00:00:00Z"}
        await enter_budget(worker, read_input(NewBudget, budget), AUTHOR)
        events = [attempt("p", agent={"id": "planner", "run_id": "plan"}, tokens=300)]
        events += [
            attempt(f"c{n}{end}", agent={"id": ODD, "run_id": f"run-{n}", "parent_run_id": "plan"})
            for n in range(7)
            for end in (0, 1)
        ]
        for number, event in enumerate(events):
            later = timedelta(hours=2 if event["id"] == "c61" else 0, seconds=number)
            event["time"] = (WINDOW + later).isoformat()
        gate = Gate(worker, IngestLimits())
        assert {*await gate.outcomes(keyed(*events))} == {"created"}
        await rate(worker, entity_id="factory", now=clock.now())
        settings = Settings(worker_url=database.worker_url, api_url=database.api_url)
        with application(settings) as app, listening(app) as port:
            yield Shown(f"http://127.0.0.1:{port}/", served.keys)


@pytest.mark.parametrize("width", WIDTHS)
async def test_an_agent_has_a_page_of_its_own(
    browser: Browser, shown: Shown, width: int, tmp_path: Path
) -> None:
    async with opened(browser, shown, shown.keys["finance"], width) as page:
        agents = page.locator("#agents tbody tr")
        await expect(agents).to_have_count(2)
        await page.get_by_role("link", name=ODD).click()
        await expect(page.locator("#agent h2")).to_have_text(f"Agent {ODD} of acme")
        await expect(page.locator("#runs tbody tr")).to_have_count(7)
        await expect(page.locator("#runs tbody .bad")).to_have_text("2 h 0 min")
        await expect(page.locator("#budgets tbody tr")).to_contain_text("coding")
        await expect(page.locator("#groups")).to_have_count(0)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await page.screenshot(path=tmp_path / f"agent-{width}.png", full_page=True)
        await page.get_by_role("link", name="all agents").click()
        await expect(page.locator("#groups tbody tr")).to_have_count(1)
        await expect(page.locator("#runs")).to_have_count(0)


async def test_an_agent_that_used_nothing_is_told_and_the_page_goes_on(
    browser: Browser, shown: Shown
) -> None:
    async with opened(browser, shown, shown.keys["finance"]) as page:
        await expect(page.locator("#agents tbody tr")).to_have_count(2)
        await page.evaluate("location.hash = 'agent=acme/nobody'")
        await expect(page.locator("#agent .error")).to_contain_text("used nothing in this time")
        await page.evaluate("location.hash = ''")
        await expect(page.locator("#agents tbody tr")).to_have_count(2)
