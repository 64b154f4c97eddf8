"""The events behind a line are shown wherever they lie, and only to whom they belong."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger.flows.metering.archive import archive
from ledger.store.queries import Connection
from tests.api.served import Served, attempt


@pytest.mark.parametrize("role", ["finance", "customer"])
async def test_archived_events_of_a_line_are_those_of_before(
    served: Served, worker: Connection, tmp_path: Path, role: str
) -> None:
    served.send(attempt("a"), attempt("b", customer_id="beta"))
    body = {"subscription_id": "sub-acme", "at": "2023-11-16T00:00:00Z"}
    assert served.post("/v1/invoices", body, role="finance").status_code == 201
    (invoice,) = served.get("/v1/invoices", role="customer").json()["items"]
    path = f"/v1/invoices/{invoice['invoice_id']}/lines/1/events"
    before = served.get(path, role=role).json()
    assert [event["event_id"] for event in before["items"]] == ["a"]
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    done = await archive(worker, before=tomorrow, today=tomorrow, folder=tmp_path)
    assert [one.day.rows for one in done.archived if one.day.rows] == [2]
    assert served.get(path, role=role).json() == before
    assert served.get(path, role="beta").status_code == 404
