"""What a scrape could not read is named in the log, once, while the rest of it is sent; who asks
shows what it should to whom it should; and no server holds a scrape up, nor fills its memory."""

import base64
import gzip
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from collectors.errors import CollectSettingsError, ScrapeError
from collectors.scrape import Scraper
from collectors.settings import ScrapeTarget
from tests.collectors.servers import Answer, serving
from tests.support.certificates import Certificates, make_certificates

NOW = datetime(2026, 8, 1, tzinfo=UTC)
READABLE = 'vllm:generation_tokens_total{model_name="m"} 55\n'
BROKEN = 'vllm:prompt_tokens_total{model_name="m} 1\n'
SECRET = "pa55:word/of@mine"
Answering = Callable[[BaseHTTPRequestHandler], Answer]


def scraper_of(url: str, **files: Path) -> Scraper:
    return Scraper.of(ScrapeTarget(engine="vllm", url=url, instance="pod", **files))


def scraped(url: str, **files: Path) -> list[str]:
    with closing(scraper_of(url, **files)) as scraper:
        return [one.value for one in scraper.scrape(now=NOW, timeout_s=5).counters]


def answered(answer: Answering) -> list[str]:
    with serving(answer) as url:
        return scraped(url)


def page(_: BaseHTTPRequestHandler) -> Answer:
    return 200, {}, READABLE.encode()


def test_a_line_that_cannot_be_read_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    pages = [READABLE + BROKEN, READABLE + BROKEN, READABLE, READABLE + BROKEN]

    with (
        serving(lambda _: (200, {}, pages.pop(0).encode())) as url,
        closing(scraper_of(url)) as scraper,
    ):
        for warned, troubles in ((1, 1), (1, 1), (1, 0), (2, 1)):
            reading = scraper.scrape(now=NOW, timeout_s=5)
            assert [counter.value for counter in reading.counters] == ["55"]
            assert caplog.text.count("vllm:prompt_tokens_total") == warned
            assert len(scraper.troubles) == troubles


def test_an_exposition_that_comes_packed_is_read() -> None:
    packed = gzip.compress(READABLE.encode())
    assert answered(lambda _: (200, {"Content-Encoding": "gzip"}, packed)) == ["55"]


@pytest.mark.parametrize("location", ["/moved?a=1", "//127.0.0.1:{port}/moved"])
def test_a_page_that_moved_on_its_host_is_followed(location: str) -> None:
    def answer(request: BaseHTTPRequestHandler) -> Answer:
        if request.path.startswith("/moved"):
            return 200, {}, READABLE.encode()
        port = request.headers["Host"].rpartition(":")[2]
        return 307, {"Location": location.format(port=port)}, b""

    assert answered(answer) == ["55"]


OPENMETRICS = {"Content-Type": "application/openmetrics-text; version=1.0.0"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (302, {"Location": "http://elsewhere.example/metrics"}, b"", "elsewhere"),
        (302, {"Location": "file:///etc/passwd"}, b"", "leads to"),
        (302, {}, b"", "leads to"),
        (302, {"Location": "/metrics"}, b"", "answered 302"),
        (200, {"Content-Encoding": "gzip"}, b"no gzip", "is the server up"),
        (
            200,
            {"Content-Encoding": "gzip"},
            gzip.compress(READABLE.encode(), mtime=0)[:-9],
            "its end",
        ),
        (200, {"Content-Encoding": "br"}, b"x", "packed as br"),
        (
            200,
            {"Content-Encoding": "gzip"},
            gzip.compress(b"x" * 2**25, mtime=0),
            "answered 200 with",
        ),
        (200, OPENMETRICS, READABLE.encode(), "cut short"),
        (
            200,
            {"Content-Type": "application/vnd.google.protobuf; encoding=delimited"},
            b"\x0a\x05abcde",
            "answers in protobuf",
        ),
        (401, {}, b"", "answered 401"),
    ],
)
def test_what_leads_nowhere_or_cannot_be_unpacked_is_named(
    status: int, headers: dict[str, str], body: bytes, said: str
) -> None:
    with pytest.raises(ScrapeError, match=said):
        answered(lambda _: (status, headers, body))


def test_a_mark_of_byte_order_before_a_page_is_no_part_of_its_first_line() -> None:
    assert answered(lambda _: (200, {}, READABLE.encode("utf-8-sig"))) == ["55"]


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_an_openmetrics_page_that_ends_is_read(end: str) -> None:
    page = f"{READABLE}# EOF{end}".encode()
    assert answered(lambda _: (200, OPENMETRICS, page)) == ["55"]


@pytest.mark.parametrize(
    ("said", "run"),
    [("1786000000", "pod@-+1786000000"), ("soon", "pod@-+-"), ("9" * 40, "pod@-+-")],
)
def test_a_start_told_beside_the_page_marks_the_run(said: str, run: str) -> None:
    head = {"Process-Start-Time-Unix": said}
    with (
        serving(lambda _: (200, head, READABLE.encode())) as url,
        closing(scraper_of(url)) as scraper,
    ):
        assert scraper.scrape(now=NOW, timeout_s=5).run_id == run


def test_a_page_too_large_for_an_event_is_several_of_one_time() -> None:
    long = "x" * 250
    lines = [
        f'vllm:generation_tokens_total{{model_name="{n}",customer="{long}"}} {n}\n'
        for n in range(500)
    ]
    with (
        serving(lambda _: (200, {}, "".join(lines).encode())) as url,
        closing(scraper_of(url)) as scraper,
    ):
        reading = scraper.scrape(now=NOW, timeout_s=5)
    parts = reading.parts(64 * 1024)
    events = [part.to_event(recorded_at=NOW) for part in parts]
    assert max(len(json.dumps(event)) for event in events) < 64 * 1024
    assert {(event["time"], event["data"]["run_id"]) for event in events} == {
        ("2026-08-01T00:00:00.000000Z", reading.run_id)
    }
    assert [one["value"] for event in events for one in event["data"]["values"]] == [
        str(n) for n in range(500)
    ]
    assert reading.parts(2_200) == []


def test_one_connection_serves_scrape_after_scrape() -> None:
    clients: set[object] = set()

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        clients.add(request.client_address)
        return page(request)

    with serving(answer) as url, closing(scraper_of(url)) as scraper:
        for _ in range(3):
            scraper.scrape(now=NOW, timeout_s=5)
    assert len(clients) == 1


def test_a_token_is_read_from_its_file_each_time(tmp_path: Path) -> None:
    shown: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        shown.append(request.headers["Authorization"])
        return page(request)

    token = tmp_path / "token"
    with serving(answer) as url, closing(scraper_of(url, bearer_file=token)) as scraper:
        for text in ("one\n", "two"):
            token.write_text(text, encoding="ascii")
            scraper.scrape(now=NOW, timeout_s=5)
        for text in ("", "two\nlines", "ünreadable"):
            token.write_text(text, encoding="utf-8")
            with pytest.raises(ScrapeError, match=str(token)):
                scraper.scrape(now=NOW, timeout_s=5)
    assert shown == ["Bearer one", "Bearer two"]


def test_a_password_of_an_address_is_shown_to_its_server_and_never_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answer(request: BaseHTTPRequestHandler) -> Answer:
        pair = base64.b64encode(f"metrics:{SECRET}".encode()).decode()
        known = request.headers["Authorization"] == f"Basic {pair}"
        return (200, {}, (READABLE + BROKEN).encode()) if known else (401, {}, b"")

    quoted = SECRET.replace("/", "%2F").replace("@", "%40").replace(":", "%3A")
    with serving(answer) as url:
        named = url.replace("//", f"//metrics:{quoted}@") + "/metrics?key=hidden"
        assert scraped(named) == ["55"]
        wrong = [named.replace(quoted, f"{quoted}x")]
    wrong.append(named)
    said = [caplog.text]
    for one in wrong:
        with pytest.raises(ScrapeError) as refused:
            scraped(one)
        said.append(str(refused.value))
    for text in said:
        assert "pa55" not in text
        assert "hidden" not in text


@pytest.mark.parametrize(
    "location", ["//127.0.0.1:1/metrics", "http://127.0.0.1:{port}/metrics", "//[::1]:{port}/"]
)
def test_a_secret_is_not_handed_on(
    tmp_path: Path, location: str, certificates: Certificates
) -> None:
    (tmp_path / "token").write_text("one", encoding="ascii")

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        port = request.headers["Host"].rpartition(":")[2]
        return 302, {"Location": location.format(port=port)}, b""

    with serving(answer, certificates.server_context()) as url:
        files = {"bearer_file": tmp_path / "token", "ssl_cafile": certificates.cafile}
        with pytest.raises(ScrapeError, match="leads to"):
            scraped(url, **files)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def test_a_server_of_an_own_authority_is_trusted_where_it_is_named(
    certificates: Certificates,
) -> None:
    with serving(page, certificates.server_context()) as url:
        assert scraped(url, ssl_cafile=certificates.cafile) == ["55"]
        with pytest.raises(ScrapeError, match="CERTIFICATE_VERIFY_FAILED"):
            scraped(url)


def test_a_server_that_asks_for_a_certificate_is_shown_one(certificates: Certificates) -> None:
    with serving(page, certificates.server_context(asks_clients=True)) as url:
        signed, key = certificates.client
        known = {"ssl_cafile": certificates.cafile, "ssl_certfile": signed, "ssl_keyfile": key}
        assert scraped(url, **known) == ["55"]
        with pytest.raises(ScrapeError):
            scraped(url, ssl_cafile=certificates.cafile)


@pytest.mark.parametrize(
    ("url", "files", "said"),
    [
        ("https://127.0.0.1:1", {"ssl_cafile": Path("/nowhere.pem")}, "nowhere.pem"),
        ("http://u:hidden77@h:99999", {}, "no address"),
        ("ftp://u:hidden77@h", {}, "no address"),
        ("http://u:hidden77@h", {"bearer_file": Path("/token")}, "name one"),
    ],
)
def test_a_target_that_cannot_be_asked_is_refused(
    url: str, files: dict[str, Path], said: str
) -> None:
    with pytest.raises(CollectSettingsError, match=said) as refused:
        scraper_of(url, **files)
    assert "hidden77" not in str(refused.value)


HEAD = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def dripping(*pieces: bytes, then: bytes = b"", every_s: float = 0.05) -> Iterator[str]:
    """A server that sends these pieces at once, then one more again and again without an end."""
    over = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            try:
                connection.sendall(b"".join(pieces))
                while then and not over.wait(every_s):
                    connection.sendall(then)
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        over.set()
        thread.join()
        listening.close()


@pytest.mark.parametrize(
    ("pieces", "then"),
    [
        ((b"",), b"H"),
        ((HEAD,), b"a: b\r\n"),
        ((b"",), b"HTTP/1.1 100 Continue\r\n\r\n"),
        ((HEAD, b"Content-Length: 9000\r\n\r\n"), b"#"),
        ((HEAD, b"Transfer-Encoding: chunked\r\n\r\n"), b"1\r\n#\r\n"),
        ((HEAD, b"\r\n"), b"#\n"),
    ],
)
def test_a_server_that_drips_holds_no_scrape_up(pieces: tuple[bytes, ...], then: bytes) -> None:
    began = time.monotonic()
    with dripping(*pieces, then=then) as url, closing(scraper_of(url)) as scraper:
        with pytest.raises(ScrapeError, match=r"(?i)time"):
            scraper.scrape(now=NOW, timeout_s=0.5)
        # It drips for ever: half a second, and what else this machine does.
        assert time.monotonic() - began < 20


def test_an_answer_without_an_end_is_read_up_to_its_bound() -> None:
    line = b"#" * 2**20
    with (
        dripping(HEAD, b"\r\n", then=line, every_s=0) as url,
        closing(scraper_of(url)) as scraper,
        pytest.raises(ScrapeError, match="answered 200 with"),
    ):
        scraper.scrape(now=NOW, timeout_s=20)


@pytest.mark.parametrize(
    "pieces",
    [
        (HEAD, b"Content-Length: 9000\r\n\r\n", READABLE.encode()),
        (HEAD, b"Transfer-Encoding: chunked\r\n\r\n", b"7\r\nvllm:ge"),
        (HEAD, b"\r\n", READABLE[:-2].encode()),
    ],
)
def test_an_answer_that_is_cut_short_counts_nothing(pieces: tuple[bytes, ...]) -> None:
    with dripping(*pieces) as url, pytest.raises(ScrapeError, match=r"IncompleteRead|cut short"):
        scraped(url)


def test_a_connection_that_the_server_let_go_is_made_anew() -> None:
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(READABLE) + READABLE.encode()
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(whole)

    thread = threading.Thread(target=serve)
    thread.start()
    with closing(scraper_of(f"http://127.0.0.1:{listening.getsockname()[1]}")) as scraper:
        for _ in range(2):
            scraper.scrape(now=NOW, timeout_s=5)
            time.sleep(0.05)
    thread.join()
    listening.close()
