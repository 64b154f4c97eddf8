"""Work that took what no token can take is told wherever its cost is."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.cost.plausible import MORE
from ledger.flows.cost.allocate import allocate
from ledger.reports.cost.efficiency import EFFICIENCY
from ledger.reports.cost.margin import margin_report
from ledger.reports.cost.margin_text import MARGIN
from ledger.reports.energy.findings import FINDINGS
from ledger.reports.metering.status import read_status
from ledger.reports.report import Asked, ReportScope
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from tests.support.books import Books, Tokens
from tests.support.one_gpu import GPU, LATER, QUARTER, START, one_gpu, steady


async def worked(connection: Connection, *, output: int) -> None:
    """A quarter hour at 400 W, in which so many tokens were written."""
    books = Books(connection)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 901, 10)))
    await books.usage(START, Tokens(output=output))
    await allocate(connection, now=LATER)


async def scope_of(connection: Connection, since: datetime = START) -> ReportScope:
    cut_off = await draw_cut_off(connection, "report")
    return ReportScope(entity_id="factory", since=since, until=START + QUARTER, cut_off=cut_off)


@pytest.mark.parametrize(
    ("output", "reasons"),
    [(900_000, []), (90_000_000, ["less_than_known"]), (1_000, ["more_than_known"])],
)
async def test_findings_and_margin_name_it(
    worker: Connection, output: int, reasons: list[str]
) -> None:
    await worked(worker, output=output)
    scope = await scope_of(worker)
    noticed = FINDINGS.to_json(await FINDINGS.read(worker, scope, Asked({})))["items"]
    assert isinstance(noticed, list)
    of_work = [each for each in noticed if each["deployment_id"]]
    assert [each["reason"] for each in of_work] == reasons
    margin = await margin_report(worker, **scope)
    assert [each.reason for each in margin.implausible] == reasons
    warned = [str(each) for each in MARGIN.show(margin, Asked({})) if "Implausible" in str(each)]
    assert len(warned) == len(reasons)


@pytest.mark.parametrize(("steps", "reasons"), [(None, []), (30_000, []), (300, [MORE])])
async def test_engines_that_count_their_steps_say_how_large_batches_were(
    worker: Connection, steps: int | None, reasons: list[str]
) -> None:
    books = Books(worker)
    await one_gpu(books, instances=["vllm-0"])
    await books.readings(GPU, steady(range(0, 901, 10)))
    await books.usage(START, Tokens(output=30_000), instance="vllm-0")
    counted = {"generation_tokens": 30_000} | ({} if steps is None else {"steps": steps})
    edges = [(START, name, 0) for name in counted]
    edges += [(START + QUARTER, name, value) for name, value in counted.items()]
    await books.counters("vllm-0", edges)
    await allocate(worker, now=LATER)
    scope = await scope_of(worker)
    noticed: Any = FINDINGS.to_json(await FINDINGS.read(worker, scope, Asked({})))["items"]
    assert [each["reason"] for each in noticed if each["deployment_id"]] == reasons


async def test_steps_that_come_later_are_due(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books, instances=["vllm-0"])
    await books.readings(GPU, steady(range(0, 901, 10)))
    await books.usage(START, Tokens(output=30_000), instance="vllm-0")
    wrote = [(START, "generation_tokens", 0), (START + QUARTER, "generation_tokens", 30_000)]
    await books.counters("vllm-0", wrote)
    await allocate(worker, now=LATER)
    await books.counters("vllm-0", [(START, "steps", 0), (START + QUARTER, "steps", 300)])
    await allocate(worker, now=LATER)
    scope = await scope_of(worker)
    assert [each.reason for each in (await margin_report(worker, **scope)).implausible]
    assert (await allocate(worker, now=LATER)).rows_written == 0


@pytest.mark.parametrize(("output", "implausible"), [(900_000, False), (90_000_000, True)])
async def test_efficiency_says_nothing_of_how_far_it_may_be_off(
    worker: Connection, output: int, implausible: bool
) -> None:
    await worked(worker, output=output)
    answered = await EFFICIENCY.read(worker, await scope_of(worker), Asked(EFFICIENCY.defaults))
    said: Any = EFFICIENCY.to_json(answered)
    assert len(said["implausible"]) == implausible
    for row in (*said["items"], said["total"]):
        assert row["implausible"] == implausible
        assert (row["interval"]["energy_percent"] is None) == implausible
        assert Decimal(row["estimated_percent"]) == 0
    shown = EFFICIENCY.show(answered, Asked(EFFICIENCY.defaults))
    assert any("Implausible" in str(each) for each in shown) == implausible


async def test_status_tells_of_it(worker: Connection) -> None:
    await worked(worker, output=30_000_000)
    cut_off = await draw_cut_off(worker, "status")
    state = await read_status(worker, stages=(), cut_off=cut_off, now=LATER)
    assert [each.reason for each in state.implausible_work] == ["less_than_known"]
