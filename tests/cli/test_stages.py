"""A stage is one line in one table: what runs all, its command, `status` and metrics follow."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from ledger import metrics
from ledger.domain.parked import Part
from ledger.domain.period import HOUR, hour_start
from ledger.flows.parts import Due
from ledger.flows.settle import settle
from ledger.flows.stage import Stage, StageContext
from ledger.flows.stages import STAGES, ListedStage
from ledger.flows.watch import measure
from ledger.store.connect import draw_batch_seq
from ledger.store.pricing.rating import list_entities
from ledger.store.queries import Connection
from tests.cli.command_line import CommandLine
from tests.support.books import Books
from tests.support.one_gpu import LATER, START

FOUND: list[tuple[str, int, int]] = []


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    """An hour is due where anything was stored; that of the entity `bad` cannot be done."""
    entity = context.entity
    FOUND.append((entity.entity_id, context.last.batch_seq, context.cut_off.batch_seq))

    async def store(chunk: Sequence[Part]) -> int:
        if entity.entity_id == "bad":
            raise ValueError("nobody counts this")
        return len(chunk)

    touched = [START, *(window for _, window in again)]
    hours = {hour_start(window, entity.zone) for window in touched}
    return Due([("", hour) for hour in sorted(hours)], store)


count_hours = Stage(
    name="count_hours",
    step=HOUR,
    chunk_parts=10,
    list_entities=list_entities,
    find=_find,
)


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The table with one stage more."""
    FOUND.clear()
    listed = ListedStage(f"{__name__}:count_hours", "Count hours in which something was stored.")
    monkeypatch.setitem(STAGES, count_hours.name, listed)
    yield
    metrics.PARKED.clear()


async def test_a_stage_of_the_table_is_run_commanded_told_of_and_measured(
    worker: Connection, command: CommandLine
) -> None:
    books = Books(worker)
    for entity_id in ("factory", "bad"):
        await books.entity(entity_id)
    done = await settle(worker, now=LATER)
    assert [run.stage for run in done][-1] == "count_hours"
    assert (done[-1].windows, done[-1].rows_written) == (2, 1)
    assert [one.entity_id for one in done[-1].parked] == ["bad"]

    measured = await measure(worker)
    metrics.show_standing(measured.work, measured.parked)
    assert REGISTRY.get_sample_value("tokenledger_parked", {"stage": "count_hours"}) == 1
    assert REGISTRY.get_sample_value("tokenledger_parked", {"stage": "rate"}) == 0

    assert "Count hours in which" in (await asyncio.to_thread(command, "--help")).stdout
    shown = await asyncio.to_thread(command, "count-hours", "--entity", "factory")
    assert "count_hours" in shown.stdout
    (again,) = await asyncio.to_thread(command.json, "count-hours", "--entity", "bad", status=1)
    assert (again["stage"], again["rows_written"], again["parked"]) == ("count_hours", 0, 1)
    told = await asyncio.to_thread(command.json, "status")
    assert {"stage", "batch_seq", "ran_at", "behind"} == told["stages"][0].keys()
    assert [row["stage"] for row in told["stages"]][: len(STAGES)] == list(STAGES)
    assert [row["stage"] for row in told["parked"]] == ["count_hours"]


def test_a_stage_that_never_ran_is_told_of(command: CommandLine) -> None:
    (row,) = [row for row in command.json("status")["stages"] if row["stage"] == "count_hours"]
    assert row == {"stage": "count_hours", "batch_seq": None, "ran_at": None, "behind": None}
    assert "nothing to do yet" in command("status").stdout


async def test_a_stage_looks_only_where_something_was_stored_since(worker: Connection) -> None:
    await Books(worker).entity("factory")
    await settle(worker, now=LATER)
    await settle(worker, now=LATER + timedelta(hours=1))
    assert len(FOUND) == 1, "nothing was stored between them"
    async with worker.transaction():
        await draw_batch_seq(worker)
    await settle(worker, now=LATER + timedelta(hours=2))
    (_, since, until), (_, later_since, later_until) = FOUND
    assert since == 0
    assert later_since == until < later_until, "it looks at what came since, and nothing else"
