"""An event, a reading and a price go through the files that ARCHITECTURE.md tells, in order."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from collectors.compact import compact
from collectors.gateways.openai import read_usage
from collectors.reading import GpuEnergyReading
from collectors.spool import Spool
from ledger.flows.settle import settle
from ledger.store.queries import Connection
from ledger.wire.batch import Batch
from tests.api.full_books import ENGINE, ISSUE, NOW, PERIOD, SINCE, UNTIL
from tests.api.served import Served, attempt, serve
from tests.api.ways import visited
from tests.architecture.sources import ROOT
from tests.support.database import Database

FILE = re.compile(r"^\d+\. `([a-z_/]+\.(?:py|js))`", re.MULTILINE)
LINES_MAX = 10
COLUMNS = "application/vnd.tokenledger.columnar"
PRICE = {"meter": "input", "amount": "3", "valid_from": "2023-01-01T00:00:00Z"}


def told(what: str) -> list[str]:
    """The files of a way, as ARCHITECTURE.md lists them."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    (section,) = re.findall(
        rf"^### The way of {what}\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL
    )
    files = FILE.findall(section)
    assert 5 <= len(files) <= LINES_MAX
    return files


@asynccontextmanager
async def walked(
    database: Database, worker: Connection
) -> AsyncIterator[tuple[Served, dict[str, None]]]:
    """A served ledger, and what is visited from now on."""
    with visited() as files:
        async with serve(database, worker) as served:
            files.clear()
            yield served, files


def met(files: dict[str, None], way: list[str]) -> list[str]:
    """The files of a way that were met, in the order in which they were."""
    return [path for path in files if path in way]


async def test_way_of_an_event(database: Database, worker: Connection) -> None:
    async with walked(database, worker) as (served, files):
        usage = read_usage({"prompt_tokens": 7, "completion_tokens": 2})
        assert served.send(attempt("e1", usage=usage)).status_code == 200
        await settle(worker, now=NOW)
        assert served.get("/v1/charges", params=PERIOD).json()["items"]
    assert met(files, told("an event")) == told("an event")


async def test_way_of_a_reading(database: Database, worker: Connection, tmp_path: Path) -> None:
    async with walked(database, worker) as (served, files):
        books = served.books
        await books.facility()
        await books.pue(SINCE, UNTIL)
        await books.tariff([(SINCE, UNTIL, "100")], currency="USD")
        await books.owned(SINCE, UNTIL, currency="USD")
        await books.deployment(SINCE, UNTIL, gpus=["GPU-a"], instances=[ENGINE["instance"]])
        assert served.send(attempt("e1", engine=ENGINE), role="admin").status_code == 200
        files.clear()
        for batch in read(tmp_path):
            sent = {
                "Content-Type": "application/vnd.tokenledger.columnar",
                **batch.header.to_fields(),
            }
            answer = served.call("POST", "/v1/events", content=batch.body, headers=sent)
            assert answer.status_code == 200, answer.text
        await settle(worker, now=NOW)
        energy = served.get("/v1/energy", params={**PERIOD, "entity": "factory"})
        assert energy.status_code == 200, energy.text
    assert met(files, told("a reading")) == told("a reading")


async def test_way_of_a_price(database: Database, worker: Connection) -> None:
    async with walked(database, worker) as (served, files):
        entered = served.post("/v1/rate-cards/card-acme/prices?replace=true", PRICE)
        assert entered.status_code == 201, entered.text
        assert served.send(attempt("e1")).status_code == 200
        await settle(worker, now=NOW)
        issued = served.post("/v1/invoices", ISSUE)
        assert issued.status_code == 201, issued.text
        assert served.get(f"/v1/invoices/{issued.json()['invoice_id']}/pdf").status_code == 200
    assert met(files, told("a price")) == told("a price")


def read(folder: Path) -> list[Batch]:
    """What a collector spooled of a board at 400 W, as it sends it."""
    readings = [
        GpuEnergyReading(
            gpu_uuid="GPU-a",
            epoch="boot",
            energy_mj=10**7 + 4_000_000 * n,
            sampled_at=SINCE + timedelta(seconds=10 * n),
        )
        for n in range(361)
    ]
    with Spool(folder, source="/hosts/a", producer="a", new_epoch=1) as spool:
        spool.append([each.to_event(recorded_at=each.sampled_at) for each in readings])
        return [compact(batch) for batch in spool.waiting(10)]
