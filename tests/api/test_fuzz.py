"""Nothing anybody sends is a defect of ours: four fuzzers, together as long as asked.

A failure names the seed and the request; how long it takes is `TOKENLEDGER_FUZZ_SECONDS`.
"""

import logging
import os
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ledger.api.examples import EXAMPLES
from ledger.wire.events import UsageEvent
from tests.api.documented import OPERATIONS, path_of, send_examples
from tests.api.held import DOCUMENT
from tests.api.odd import as_bytes, encoded, mutated, odd, odd_events, odd_query
from tests.api.served import Served

log = logging.getLogger(__name__)
SECONDS = int(os.environ.get("TOKENLEDGER_FUZZ_SECONDS", "20"))
DAY_BEHIND = "2024-01-02T00:00:00Z"
FIRST = int(os.environ.get("TOKENLEDGER_FUZZ_SEED", "1"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
PER_OPERATION = settings(
    max_examples=4,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
WITH_BODIES = [one for one in OPERATIONS if "requestBody" in one.said]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 240)]


def seeds() -> Iterator[int]:
    """Numbers, one after the other, for a quarter of the time."""
    end = time.monotonic() + SECONDS / 4
    number = FIRST
    while time.monotonic() < end:
        yield number
        number += 1
    log.info("%d seeds", number - FIRST)


@pytest.fixture
async def filled(served: Served) -> Served:
    """A served API with everything of the examples, and a day of theirs to allocate in previews:
    hardware that ran on to this day would have more with each day of ours."""
    list(send_examples(served))
    for kind in ("deployments", "assets"):
        for each in served.get(f"/v1/{kind}").json()["items"]:
            end = {"kind": kind, "id": each[f"{kind[:-1]}_id"], "valid_from": DAY_BEHIND}
            answer = served.post("/v1/ends", end)
            assert answer.status_code == 201, answer.text
    return served


def sent(served: Served, number: int, method: str, path: str, **given: Any) -> None:
    """One request, whose answer may be anything but a defect of ours."""
    answer = served.call(method.upper(), path, **given)
    what = f"seed {number}: {method} {path[:300]} {str(given)[:1_000]}"
    assert answer.status_code < 500, f"{what} answered {answer.status_code}: {answer.text[:500]}"
    assert "Traceback" not in answer.text, what


def still_serves(served: Served) -> None:
    assert served.get("/readyz").status_code == 200
    event = {**EXAMPLES[UsageEvent], "id": "after-all"}
    assert served.send(event, role="admin").json()["counts"]["counted"] == 1


async def test_paths_and_queries(filled: Served) -> None:
    for number in seeds():
        random = Random(number)
        one = random.choice(OPERATIONS)
        path = path_of(one)
        if random.random() < 0.5:
            parts = path.split("/")
            parts[random.randrange(1, len(parts))] = encoded(random, odd(random))
            path = "/".join(parts)
        names = [each["name"] for each in one.said["parameters"]]
        method = one.method if random.random() < 0.9 else random.choice(["put", "delete", "head"])
        sent(filled, number, method, f"{path}?{odd_query(random, names)}")
    still_serves(filled)


async def test_bodies(filled: Served) -> None:
    for number in seeds():
        random = Random(number)
        one = random.choice(WITH_BODIES)
        content = one.said["requestBody"]["content"]
        example: dict[str, Any] = next(
            (each["example"] for each in content.values() if "example" in each), {}
        )
        body = as_bytes(random, mutated(random, dict(example)))
        headers: dict[str, Any] = {"Content-Type": "application/json"}
        if random.random() < 0.1:
            headers["Idempotency-Key"] = random.choice(["", "k", "k" * 201, b"\xe9"])
        path = path_of(one) + random.choice(["", "", "?replace=true"])
        sent(filled, number, one.method, path, content=body, headers=headers)
    still_serves(filled)


async def test_events(filled: Served) -> None:
    for number in seeds():
        random = Random(number)
        body, headers = odd_events(random, dict(EXAMPLES[UsageEvent]), number)
        role = random.choice(["admin", "ingest"])
        sent(filled, number, "post", "/v1/events", role=role, content=body, headers=headers)
    still_serves(filled)


async def test_the_document_is_kept_to(filled: Served) -> None:
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    for number in seeds():
        call(filled, operations[number % len(operations)], number)
    still_serves(filled)


def call(served: Served, operation: Any, number: int) -> None:
    """A few requests that the document allows, each held to what it says of the answer."""
    key = served.keys["admin"]

    @seeded(number)
    @PER_OPERATION
    @given(case=operation.as_strategy())
    def each(case: Any) -> None:
        given = case.as_transport_kwargs(base_url=str(served.client.base_url))
        headers = {**(given.pop("headers") or {}), "Authorization": f"Bearer {key}"}
        given.pop("cookies", None)
        if "data" in given:
            given["content"] = given.pop("data")
        method, url = given.pop("method"), given.pop("url")
        answer = served.client.request(method, url, headers=headers, **given)
        case.validate_response(answer, checks=CHECKS)

    each()
