"""What every answer says to browsers and caches, whatever it is an answer to."""

import re
from importlib.resources import files

import pytest

from ledger.api.headers import HEADERS, disposition
from tests.api.served import Served


def test_every_answer_carries_them(served: Served) -> None:
    for status, answer in (
        (200, served.get("/", role=None)),
        (200, served.get("/web/app.js", role=None)),
        (200, served.get("/healthz", role=None)),
        (200, served.get("/schema/openapi.json", role=None)),
        (200, served.get("/v1/entities")),
        (401, served.get("/v1/entities", role=None)),
        (403, served.get("/v1/keys", role="customer")),
        (404, served.get("/nowhere")),
        (405, served.call("DELETE", "/v1/entities")),
        (415, served.send(b"{}", Content_Type="text/csv")),
        (422, served.get("/v1/customers?limit=0")),
    ):
        assert answer.status_code == status
        assert {name for name in HEADERS if name not in answer.headers} == set()
        assert answer.headers["cache-control"] == "no-store"
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_the_page_needs_nothing_inline() -> None:
    inline = re.compile(
        r"<script(?![^>]*\bsrc=)|\sstyle=|<style|\son[a-z]+=|javascript:|setAttribute\(.style"
    )
    for name in ("index.html", "app.js"):
        assert inline.findall((files("ledger.web") / name).read_text()) == []


@pytest.mark.parametrize(
    ("name", "plain", "encoded"),
    [
        ("A-2026-000001.pdf", "A-2026-000001.pdf", "A-2026-000001.pdf"),
        ('名\r\nX: y".pdf', "___X_ y_.pdf", "%E5%90%8D%0D%0AX%3A%20y%22.pdf"),
    ],
)
def test_the_name_of_a_file_is_one_header_whatever_it_holds(
    name: str, plain: str, encoded: str
) -> None:
    said = f"inline; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
    assert disposition("inline", name) == said


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/metrics", "text/plain"),
        ("/", "text/html"),
        ("/v1/usage?csv=true", "text/csv"),
        ("/v1/coverage?entity=factory", "application/json"),
    ],
)
def test_a_text_names_its_charset_once(served: Served, path: str, kind: str) -> None:
    said = served.get(path).headers["content-type"]
    assert said.partition(";")[0] in (kind, "application/problem+json")
    assert said.count("charset") == kind.startswith("text/")
