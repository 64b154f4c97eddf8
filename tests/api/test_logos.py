"""A logo over HTTP: kept, taken away, or refused by name; and what goes out with it."""

import pytest

from ledger.store.parties import find_logo
from ledger.store.queries import Connection
from tests.api.served import Served
from tests.wire.test_logo import png, svg

PATH = "/v1/entities/factory/logo"


async def test_a_logo_is_kept_and_taken_away(served: Served, worker: Connection) -> None:
    for content in (png(), svg(), svg()):
        kept = served.call("POST", PATH, content=content)
        assert (kept.status_code, len(kept.json()["sha256"])) == (200, 64)
        found = await find_logo(worker, "factory")
        assert found is not None
        assert found.content == content
    assert served.call("POST", PATH, content=b"").json()["sha256"] is None
    assert await find_logo(worker, "factory") is None
    # The same again wrote nothing.
    assert await worker.fetchval("SELECT count(*) FROM entity_logo") == 3


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{}", "a PNG or an SVG"),
        (svg("<script>alert(1)</script>"), "without <script>"),
        (png()[:-12], "ends too early"),
    ],
    ids=["json", "script", "cut"],
)
async def test_what_is_no_logo_is_refused_by_name(
    served: Served, worker: Connection, content: bytes, told: str
) -> None:
    refused = served.call("POST", PATH, content=content)
    assert (refused.status_code, told in refused.text) == (422, True), refused.text
    assert served.call("POST", "/v1/entities/no/logo", content=png()).status_code == 404
    assert await worker.fetchval("SELECT count(*) FROM entity_logo") == 0
