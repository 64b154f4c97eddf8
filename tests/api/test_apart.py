"""Reports run in a process of their own, a few at once, and it comes back when it ends."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from httpx import Response

from ledger.api.apart import RUNNING_MAX, WAITING_MAX, Gate
from ledger.domain.errors import UnavailableError
from tests.api.served import Served, attempt
from tests.support.database import Database

PERIOD = "since=2023-11-16T00:00:00Z&until=2023-11-17T00:00:00Z"
USAGE = f"/v1/usage?{PERIOD}&by=model"
BACK_S = 60


def test_answers_are_those_of_one_process_and_it_comes_back(served: Served, apart: Served) -> None:
    apart.send(attempt("a"), attempt("b"))
    for path, role in (
        (USAGE, "finance"),
        (USAGE, "customer"),
        (USAGE, None),
        (f"{USAGE}&customer=beta", "customer"),
        ("/v1/usage?since=x&until=y", "admin"),
        ("/v1/exports/none?entity=factory&since=x&until=y", "admin"),
        (f"/v1/margins?entity=nobody&{PERIOD}", "admin"),
    ):
        here, there = (each.get(path, role=role) for each in (served, apart))
        assert (here.status_code, _said(here)) == (there.status_code, _said(there))
        assert _headers(here) == _headers(there)
    body = {"subscription_id": "sub-acme", "at": "2023-11-16T00:00:00Z"}
    drafts = [each.post("/v1/invoices/preview", body).json() for each in (served, apart)]
    assert drafts[0]["lines"] == drafts[1]["lines"]
    (child,) = (one for one in multiprocessing.active_children() if one.name == "reports")
    child.kill()
    deadline = time.monotonic() + BACK_S
    while (answer := apart.get(USAGE)).status_code != 200:
        assert answer.status_code == 503
        assert time.monotonic() < deadline
    assert _said(answer) == _said(served.get(USAGE))


async def test_few_run_and_few_wait() -> None:
    gate, go = Gate(), asyncio.Event()

    async def one() -> None:
        async with gate.slot():
            await go.wait()

    tasks = [asyncio.create_task(one()) for _ in range(RUNNING_MAX + WAITING_MAX)]
    await asyncio.sleep(0.05)
    with pytest.raises(UnavailableError):
        await one()
    go.set()
    await asyncio.gather(*tasks)
    await one()


def test_it_goes_when_its_server_is_killed(database: Database, tmp_path: Path) -> None:
    environment = {
        **{name: v for name, v in os.environ.items() if not name.startswith("TOKENLEDGER_")},
        "TOKENLEDGER_WORKER_URL": database.worker_url,
        "TOKENLEDGER_API_URL": database.api_url,
        "TOKENLEDGER_PORT": "0",
        "TMPDIR": str(tmp_path),
    }
    server = subprocess.Popen([sys.executable, "-m", "ledger.cli", "api"], env=environment)
    try:
        deadline = time.monotonic() + BACK_S
        while len(sockets := [*tmp_path.glob("*/*")]) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert sorted(one.name for one in sockets) == ["events", "reports"]
        assert [oct(one.parent.stat().st_mode)[-3:] for one in sockets] == ["700", "700"]
        children = psutil.Process(server.pid).children()
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    gone, alive = psutil.wait_procs(children, timeout=BACK_S)
    assert (len(gone) >= 2, alive) == (True, [])


def _said(answer: Response) -> dict[str, Any]:
    of_each = {"instance", "cut_off_id"}
    return {name: value for name, value in answer.json().items() if name not in of_each}


def _headers(answer: Response) -> dict[str, str]:
    """All but those that frame the body."""
    framing = {"content-length", "transfer-encoding"}
    return {name: text for name, text in answer.headers.items() if name not in framing}
