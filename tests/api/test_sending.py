"""POST /v1/events: every body people send, an answer for each item, and bad input named."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.served import SOURCE, Served, attempt


def outcomes(answer: Any) -> list[str]:
    found = [item["outcome"] for item in answer.json()["items"]]
    refused = set(found) <= {"rejected", "conflict"}
    assert answer.status_code == (422 if refused else 200), answer.text
    return found


async def test_a_body_of_which_nothing_counts_is_a_problem_that_names_its_items(
    served: Served,
) -> None:
    assert outcomes(served.send(attempt("a"))) == ["created"]
    answer = served.send(attempt("a", served_model="other"), b"{not json")
    assert outcomes(answer) == ["conflict", "rejected"]
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["title"]) == (422, "Nothing counted")
    assert problem["counts"]["quarantined"] == 1
    assert outcomes(served.send(attempt("a"))) == ["duplicate"]


async def test_what_nobody_reads_is_named(served: Served) -> None:
    typo = {"input": {"uncached": 5, "cached": 9}, "output": {"visible": 1}}
    answer = served.send(attempt("a", usage=typo), attempt("b"))
    assert outcomes(answer) == ["created", "created"]
    assert answer.json()["unknown"] == {"data.usage.input.cached": 1}
    assert "unknown" not in served.send(attempt("c")).json()


async def test_a_batch_keeps_its_good_items_and_reports_each_bad_one(served: Served) -> None:
    served.send(attempt("a"))
    answer = served.send(
        attempt("a"),
        attempt("a", served_model="other"),
        attempt("b"),
        attempt("c", customer_id="nobody"),
        b"{not json",
        {**attempt("d"), "source": "/somebody/else"},
    )
    assert outcomes(answer) == [
        "duplicate",
        "conflict",
        "created",
        "suspense",
        "rejected",
        "rejected",
    ]
    items = answer.json()["items"]
    assert items[4]["reason"] == "not_json"
    assert items[5]["reason"] == "forbidden_source"
    assert answer.json()["counts"]["quarantined"] == 2
    waiting = served.get("/v1/quarantine").json()["items"]
    assert {row["reason"] for row in waiting} == {"not_json", "forbidden_source"}
    raw = served.get(f"/v1/quarantine/{waiting[-1]['quarantine_id']}/raw")
    assert raw.content == b"{not json"


async def test_one_event_an_array_and_a_packed_body_are_read(served: Served) -> None:
    single = served.call(
        "POST",
        "/v1/events",
        role="ingest",
        content=json.dumps(attempt("a")),
        headers={"Content-Type": "application/cloudevents+json"},
    )
    array = served.call(
        "POST",
        "/v1/events",
        role="ingest",
        content=json.dumps([attempt("a"), attempt("b")]),
        headers={"Content-Type": "application/cloudevents-batch+json"},
    )
    packed = served.call(
        "POST",
        "/v1/events",
        role="ingest",
        content=gzip.compress(json.dumps(attempt("c")).encode(), mtime=0),
        headers={"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"},
    )
    assert outcomes(single) == ["created"]
    assert outcomes(array) == ["duplicate", "created"]
    assert outcomes(packed) == ["created"]


BAD = [
    ({"type": "inference.magic.v9"}, "unknown_type"),
    ({"time": None}, "missing_time"),
    ({"data": {"usage": {"input": {"uncached": -1}}}}, "negative_count"),
    ({"data": {"usage": {"input": {"uncached": 10_000_001}}}}, "absurd_count"),
    ({"data": {"usage": {"input": {"uncached": 5}, "input_total": 9}}}, "sum_mismatch"),
    ({"data": {"usage": {"input": {"uncached": 1.5}}}}, "invalid_field"),
]


@pytest.mark.parametrize(("wrong", "reason"), BAD)
async def test_what_cannot_be_counted_says_why(
    served: Served, wrong: dict[str, Any], reason: str
) -> None:
    answer = served.send({**attempt("a"), **wrong}, attempt("b"))
    assert outcomes(answer) == ["rejected", "created"]
    item = answer.json()["items"][0]
    assert item["reason"] == reason
    assert item["detail"]


async def test_the_future_is_not_stamped_now(served: Served) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=6)
    answer = served.send({**attempt("a"), "time": ahead.isoformat()})
    assert answer.json()["items"][0]["reason"] == "future_time"


async def test_a_seventh_digit_of_a_time_is_cut_without_complaint(served: Served) -> None:
    assert outcomes(served.send({**attempt("a"), "time": "2023-11-16T18:17:03.9799600Z"})) == [
        "created"
    ]


@pytest.mark.parametrize(
    ("content", "headers", "status", "says"),
    [
        (b"", {}, 400, "empty"),
        (b"x" * (1024 * 1024 + 1), {}, 413, "large"),
        (b"1\n" * 100_001, {}, 413, "100000 items"),
        (b"[" + b"1," * 100_001 + b"1]", {}, 413, "100000 items"),
        (b"\x1f\x8bbroken", {"Content-Encoding": "gzip"}, 400, "gzip"),
        (gzip.compress(b"{}" * 10, mtime=0)[:-9], {"Content-Encoding": "gzip"}, 400, "too early"),
        (
            gzip.compress(b"x" * (2 * 1024 * 1024), mtime=0),
            {"Content-Encoding": "gzip"},
            413,
            "decompressed",
        ),
        (b"{}", {"Content-Type": "text/plain"}, 415, "Content-Type"),
        (b"{}", {"Content-Encoding": "br"}, 415, "Content-Encoding"),
        (b"{}", {"ce-specversion": "1.0", "ce-id": "1"}, 415, "structured mode"),
        (b"{}", {"tl-source": SOURCE}, 400, "tl-producer"),
    ],
)
async def test_a_body_that_cannot_be_read_is_a_problem(
    served: Served, content: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    sent = {"Content-Type": "application/x-ndjson", **headers}
    answer = served.call("POST", "/v1/events", role="ingest", content=content, headers=sent)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert says.lower() in (problem["detail"] + problem["title"]).lower()
    assert "Traceback" not in answer.text
