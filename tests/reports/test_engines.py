"""The report of engines beside events reads counters, activity and facts as they were sent."""

from datetime import UTC, datetime
from typing import Any

from ledger.reports.metering.engines import engines_report
from ledger.reports.metering.engines_text import to_json
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from tests.support.usage import NOW, Gate, attempt, keyed, open_books, sequenced

HOUR = datetime(2026, 8, 6, 11, tzinfo=UTC)


def scrape(time: str, *values: tuple[str, dict[str, str], int]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": "engine.counters.v1",
        "time": time,
        "data": {
            "engine": "vllm",
            "instance": "vllm-0",
            "run_id": "vllm-0@1+2",
            "run_started_at": "2026-08-01T00:00:00Z",
            "values": [
                {"name": name, "labels": labels, "value": str(value)}
                for name, labels, value in values
            ],
        },
    }


async def test_an_hour_of_an_engine_stands_beside_its_events(worker: Connection) -> None:
    await open_books(worker)
    on = {"engine": {"instance": "vllm-0"}}
    whole = attempt("whole", minute=10, tokens=100, started_at="2026-08-06T11:10:00Z", **on)
    edge = attempt("edge", minute=20, tokens=60, started_at="2026-08-06T10:59:00Z", **on)
    cut = attempt("cut", minute=30, tokens=5, started_at="2026-08-06T11:30:00Z", **on)
    cut["data"]["usage"] |= {"complete": False, "source": "engine_running"}
    cut["data"]["status"] = "client_aborted"
    stop, abort = {"reason": "stop"}, {"reason": "abort"}
    scrapes = [
        scrape(
            "2026-08-06T11:00:00Z",
            *(("prompt_tokens", {}, 1_000), ("prompt_tokens_finished", {}, 1_000)),
            *(("requests_finished", stop, 10), ("requests_finished", abort, 0)),
        ),
        scrape(
            "2026-08-06T12:00:00Z",
            *(("prompt_tokens", {}, 1_300), ("prompt_tokens_finished", {}, 1_280)),
            *(("requests_finished", stop, 13), ("requests_finished", abort, 1)),
        ),
    ]
    outcomes = await Gate(worker).outcomes(keyed(whole, edge, cut), sequenced(scrapes))
    assert outcomes == ["created"] * 5
    report = await engines_report(
        worker,
        entity_id="factory",
        since=HOUR,
        until=NOW,
        cut_off=await draw_cut_off(worker, "report"),
    )
    shown = to_json(report)["engines"]
    assert isinstance(shown, list)
    (row,) = shown
    assert row["input"] == {
        "engine": 300,
        # Of the one over the edge, 20 of 21 minutes were in the hour.
        "events": row["input"]["events"],
        "difference": 300 - row["input"]["events"],
        "causes": {"ran over the hour's edge": 60, "aborted without usage": 20},
        "unexplained": 300 - row["input"]["events"] - 80,
        "over": True,
    }
    assert 105 < row["input"]["events"] <= 165
    assert (row["requests"], row["event_requests"]) == (4, 3)
    assert row["output"]["engine"] is None
