"""A key has its share of requests and bytes a minute, hears when to come again, stops no other."""

import json

import pytest
from litestar.testing import TestClient

from ledger.api.app import create_app
from ledger.api.problems import QuotaError
from ledger.api.quota import MIB, Quotas
from ledger.settings import Settings
from tests.api.served import Served, attempt
from tests.support.database import Database


def test_a_share_is_refilled_as_time_passes_and_never_beyond_a_minutes() -> None:
    now = [0.0]
    quotas = Quotas(60, 6 * MIB, clock=lambda: now[0])
    for _ in range(60):
        quotas.take("a")
    with pytest.raises(QuotaError) as refused:
        quotas.take("a")
    assert refused.value.retry_after_s == 1
    quotas.take("b")
    now[0] += 1
    quotas.take("a")
    with pytest.raises(QuotaError):
        quotas.take("a")
    now[0] += 3_600
    quotas.spend("a", 12 * MIB)
    with pytest.raises(QuotaError, match="60 requests and 6 MiB") as refused:
        quotas.take("a")
    assert refused.value.retry_after_s == 60
    now[0] += 60
    quotas.take("a")


async def test_who_used_up_its_share_gets_429_and_others_go_on(
    served: Served, database: Database
) -> None:
    settings = Settings(
        worker_url=database.worker_url,
        api_url=database.api_url,
        key_requests_a_minute=4,
        key_mib_a_minute=1,
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        asked = Served(client, served.keys, served.books)
        found = [asked.get("/v1/entities") for _ in range(5)]
        assert [answer.status_code for answer in found] == [200] * 4 + [429]
        assert found[-1].headers["Retry-After"] == "15"
        assert found[-1].json()["type"].endswith("too-many-requests")
        assert asked.get("/v1/entities", role="finance").status_code == 200
        filled = json.dumps(attempt("e1")).encode().ljust(600 * 1024)
        bodies = [asked.send(filled) for _ in range(3)]
        assert [answer.status_code for answer in bodies] == [200, 200, 429]
        # A stranger takes no share of a key, nor the other way round.
        assert asked.get("/v1/entities", role=None).status_code == 401
