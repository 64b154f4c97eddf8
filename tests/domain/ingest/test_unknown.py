"""An attribute that nobody reads is counted by its name, however its event was read."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.domain.metering.prepare import prepare
from ledger.domain.metering.record import Record
from ledger.domain.metering.unknown import NAMES_MAX, REST
from ledger.wire.batch import COLUMNAR
from ledger.wire.columnar_write import encode_columnar
from tests.wire.samples import usage_event

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def events(count: int, **data: Any) -> list[dict[str, Any]]:
    """Events, each second of which has what nobody reads."""
    found = []
    for n in range(count):
        event = usage_event()
        event["id"] = str(n)
        if n % 2:
            event["data"]["usage"]["input"]["cached"] = 5 + n
            event["data"] |= data
        found.append(event)
    return found


def unknown(body: bytes, encoding: str | None = None) -> dict[str, int]:
    record = Record(body) if encoding is None else Record(body, encoding=encoding)
    prepared = prepare([record], now=NOW, body_bytes_max=10**9)
    assert prepared.rejects == {}
    return {name: count for found in prepared.unknown.values() for name, count in found.items()}


def lines(found: list[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(event).encode() for event in found)


@pytest.mark.parametrize("count", [2, 4_000])
def test_a_leaf_nobody_reads_is_counted_by_name(count: int) -> None:
    more = {"extra": {"deep": 1, "other": "x"}, "finish_reasons": ["stop"], "later": None}
    wanted = {"data.usage.input.cached": count // 2, "data.extra": count // 2}
    assert unknown(lines(events(count, **more))) == wanted
    assert unknown(lines(events(count))) == {"data.usage.input.cached": count // 2}


def test_columns_nobody_reads_are_counted_alike() -> None:
    body = encode_columnar(events(400, extra=1), None)
    wanted = {"data.usage.input.cached": 200, "data.extra": 200}
    assert unknown(body, COLUMNAR) == wanted


def test_extensions_and_names_of_peoples_own_are_known() -> None:
    event = usage_event()
    event["tracestate"] = "a=1"
    event["data"]["tags"] = {"team": "x"}
    event["data"]["usage"]["other"] = {"audio": 3}
    assert unknown(lines([event])) == {}


def test_names_are_bounded() -> None:
    event = usage_event()
    event["data"] |= {f"n{n}" + "x" * 500 * (n == 0): 1 for n in range(50)}
    found = unknown(lines([event]))
    assert len(found) == NAMES_MAX + 1
    assert found[REST] == 50 - NAMES_MAX
    assert max(map(len, found)) <= 200
