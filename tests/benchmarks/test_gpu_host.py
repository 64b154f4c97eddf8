"""What an engine and a collector say of a load is what a ledger takes."""

import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.gpu_host import INSTANCE, read_load, read_spool
from collectors.clock import new_epoch
from collectors.spool import Spool
from tests.support.encoded import encode_events

STRETCH = {"name": "decode", "batch": 1, "prompt_tokens": 120, "output_tokens": 30, "steps": 30}
STRETCH |= {"prefill_s": 0.5, "decode_s": 3.25, "began_s": 7.0, "ended_s": 10.75}
REQUEST = {
    **{"number": 3, "prompt": 120, "output": 30, "written": 30},
    **{"came_s": 1_795_980_000.25, "began_s": 1_795_980_001.0},
    **{"first_s": 1_795_980_001.5, "ended_s": 1_795_980_004.75},
}


def test_a_request_is_an_event_of_its_own_times() -> None:
    lines = [{"stretch": STRETCH}, {"request": REQUEST}, {}, {"request": "after the end"}]
    load = read_load(iter(map(json.dumps, lines)))
    assert [asdict(phase) for phase in load.phases] == [STRETCH]
    (event,) = json.loads(json.dumps(load.usage))
    assert event["time"] == event["data"]["ended_at"] == "2026-11-29T19:20:04.750000Z"
    assert event["data"]["started_at"] == "2026-11-29T19:20:00.250000Z"
    assert event["data"]["first_token_at"] == "2026-11-29T19:20:01.500000Z"
    assert event["data"]["queue_ms"] == 750
    assert event["data"]["engine"]["instance"] == INSTANCE
    encode_events([event])


def test_what_a_collector_kept_is_read_in_its_order(tmp_path: Path) -> None:
    names = {"source": "/hosts/gpu", "producer": "gpu", "new_epoch": new_epoch()}
    with Spool(tmp_path, **names) as spool:  # type: ignore[arg-type]
        spool.append({"specversion": "1.0", "type": kind} for kind in ("one", "two"))
        spool.append([{"specversion": "1.0", "type": "three"}])
    kept = list(read_spool(tmp_path))
    assert [event["type"] for event in kept] == ["one", "two", "three"]
    assert {event["source"] for event in kept} == {"/hosts/gpu"}
