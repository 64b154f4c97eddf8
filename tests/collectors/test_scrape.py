"""What a scrape could not read is named in the log, once, while the rest of it is sent."""

import logging
from datetime import UTC, datetime

import pytest

from collectors.scrape import Scraper
from collectors.settings import Target
from tests.collectors.servers import serving

NOW = datetime(2026, 8, 1, tzinfo=UTC)
READABLE = 'vllm:generation_tokens_total{model_name="m"} 55\n'
BROKEN = 'vllm:prompt_tokens_total{model_name="m} 1\n'


def test_a_line_that_cannot_be_read_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    pages = [READABLE + BROKEN, READABLE + BROKEN, READABLE, READABLE + BROKEN]

    with serving(lambda _: (200, {}, pages.pop(0).encode())) as url:
        scraper = Scraper.of(Target(engine="vllm", url=url, instance="pod"))
        for warned in (1, 1, 1, 2):
            reading = scraper.scrape(now=NOW, timeout_s=5)
            assert [counter.value for counter in reading.counters] == ["55"]
            assert caplog.text.count("vllm:prompt_tokens_total") == warned
