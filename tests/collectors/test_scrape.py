"""What a scrape could not read is named in the log, once, while the rest of it is sent."""

import gzip
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler

import pytest

from collectors.errors import ScrapeError
from collectors.scrape import Scraper
from collectors.settings import ScrapeTarget
from tests.collectors.servers import Answer, serving

NOW = datetime(2026, 8, 1, tzinfo=UTC)
READABLE = 'vllm:generation_tokens_total{model_name="m"} 55\n'
BROKEN = 'vllm:prompt_tokens_total{model_name="m} 1\n'


def test_a_line_that_cannot_be_read_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    pages = [READABLE + BROKEN, READABLE + BROKEN, READABLE, READABLE + BROKEN]

    with serving(lambda _: (200, {}, pages.pop(0).encode())) as url:
        scraper = Scraper.of(ScrapeTarget(engine="vllm", url=url, instance="pod"))
        for warned in (1, 1, 1, 2):
            reading = scraper.scrape(now=NOW, timeout_s=5)
            assert [counter.value for counter in reading.counters] == ["55"]
            assert caplog.text.count("vllm:prompt_tokens_total") == warned


def scraped(answer: Callable[[BaseHTTPRequestHandler], Answer]) -> list[str]:
    with serving(answer) as url:
        scraper = Scraper.of(ScrapeTarget(engine="vllm", url=url, instance="pod"))
        return [one.value for one in scraper.scrape(now=NOW, timeout_s=5).counters]


def test_an_exposition_that_comes_packed_is_read() -> None:
    packed = gzip.compress(READABLE.encode())
    assert scraped(lambda _: (200, {"Content-Encoding": "gzip"}, packed)) == ["55"]


@pytest.mark.parametrize("location", ["/moved?a=1", "//127.0.0.1:{port}/moved"])
def test_a_page_that_moved_on_its_host_is_followed(location: str) -> None:
    def answer(request: BaseHTTPRequestHandler) -> Answer:
        if request.path.startswith("/moved"):
            return 200, {}, READABLE.encode()
        port = request.headers["Host"].rpartition(":")[2]
        return 307, {"Location": location.format(port=port)}, b""

    assert scraped(answer) == ["55"]


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (302, {"Location": "http://elsewhere.example/metrics"}, b"", "elsewhere"),
        (302, {"Location": "file:///etc/passwd"}, b"", "leads to"),
        (302, {}, b"", "leads to"),
        (302, {"Location": "/metrics"}, b"", "answered 302"),
        (200, {"Content-Encoding": "gzip"}, b"no gzip", "is the server up"),
        (200, {"Content-Encoding": "gzip"}, gzip.compress(b"x" * 2**25), "answered 200 with"),
    ],
)
def test_what_leads_nowhere_or_cannot_be_unpacked_is_named(
    status: int, headers: dict[str, str], body: bytes, said: str
) -> None:
    with pytest.raises(ScrapeError, match=said):
        scraped(lambda _: (status, headers, body))
