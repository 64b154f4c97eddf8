from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright, expect

from tests.support.browser import find_browser
from tests.support.waiting import PATIENCE_S

MISSING = "CHROMIUM IS NOT INSTALLED: nobody looked at the page; apt-get install chromium"
expect.set_options(timeout=PATIENCE_S * 1000)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    path = find_browser()
    if path is None:
        pytest.skip(MISSING)
    async with async_playwright() as play:
        # Root has no sandbox of its own, and tests run as root in a container.
        chromium = await play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        await chromium.close()
