"""Weight sets: dated, in place of what a deployment was declared with, and never two meanings."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.domain.errors import ConflictError, NotFoundError
from ledger.flows.cost.allocate import allocate
from ledger.flows.reference.enter import enter_deployment
from ledger.flows.reference.enter_weights import enter_weight_set
from ledger.store.connect import draw_cut_off
from ledger.store.cost.cost import find_deployments
from ledger.store.queries import Connection
from ledger.wire.errors import InputError
from ledger.wire.factory_inputs import NewDeployment
from ledger.wire.inputs import read_input, read_texts
from ledger.wire.weight_inputs import NewWeightSet
from tests.flows.slow_facts import AUTHOR, START, day, enter_site
from tests.support.books import Books
from tests.support.weights import MEASURED, enter_measured

CHAT = {"deployment_id": "chat", "asset_id": "rack", "model": "llama", "gpu_count": 4}
SET = MEASURED | {"valid_from": day(2)}
EVIDENCE: dict[str, Any] = {
    **{"since": day(0), "until": day(1), "cut_off_id": 1, "slots": 240, "idle_slots": 30},
    **{"fit_error_percent": "0.2", "holdout_error_percent": "0.3", "condition": "5"},
    **{"low": {"output": 350_000}, "high": {"output": 370_000}},
}


async def enter(worker: Connection, *, replace: bool = False, **said: Any) -> None:
    await enter_weight_set(worker, read_input(NewWeightSet, SET | said), AUTHOR, replace=replace)


@pytest.fixture
async def chat(worker: Connection) -> Connection:
    """A deployment of before any set."""
    await enter_site(worker)
    new = read_input(NewDeployment, CHAT | {"valid_from": day(0), "valid_to": day(9)})
    await enter_deployment(worker, new, AUTHOR)
    return worker


async def in_force(worker: Connection) -> list[tuple[int, str | None, str, int, int | None]]:
    cut_off = await draw_cut_off(worker, "test")
    found = await find_deployments(
        worker, since=START, until=START + timedelta(days=20), batch_seq=cut_off.batch_seq
    )
    return [
        (
            *((d.valid_from - START).days, d.weight_set_id, d.weight_source),
            *(d.weight_version, d.idle_mw_per_gpu),
        )
        for d in found
    ]


async def test_a_set_is_in_force_while_it_is_valid(chat: Connection) -> None:
    await enter(chat, valid_to=day(4), idle_mw_per_gpu=110_000)
    await enter(chat, weight_set_id="again", version=3, valid_from=day(5), output=1)
    assert await in_force(chat) == [
        (0, None, "declared", 1, None),
        (2, "measured", "declared", 2, 110_000),
        (4, None, "declared", 1, None),
        (5, "again", "declared", 3, None),
    ]


async def test_a_set_replaces_another_for_its_time_only(chat: Connection) -> None:
    await enter(chat)
    with pytest.raises(ConflictError, match="already recorded"):
        await enter(chat, version=3, output=1, valid_from=day(3), valid_to=day(4))
    await enter(chat, version=3, output=1, valid_from=day(3), valid_to=day(4), replace=True)
    assert [row[:1] + row[3:4] for row in await in_force(chat)] == [(0, 1), (2, 2), (3, 3), (4, 2)]


async def test_a_version_means_the_same_weights_for_ever(chat: Connection) -> None:
    await enter(chat, valid_to=day(3))
    await enter(chat, valid_from=day(4))
    with pytest.raises(ConflictError, match="Version 2 of the weights of chat is that of measured"):
        await enter(chat, valid_from=day(5), output=1, replace=True)


async def test_a_set_of_nobody_is_refused(chat: Connection) -> None:
    with pytest.raises(NotFoundError, match="no deployment quiet"):
        await enter(chat, deployment_id="quiet")
    with pytest.raises(NotFoundError, match="no deployment chat"):
        await enter(chat, valid_from=day(30))


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ({"uncached": 0, "cache_read": 0, "cache_write": 0, "output": 0}, "output"),
        ({"output": -1}, "output"),
        ({"output": 2**31}, "output"),
        ({"source": "guessed"}, "source"),
        ({"source": "calibrated"}, "evidence"),
        ({"evidence": EVIDENCE}, "evidence"),
        ({"source": "calibrated", "evidence": EVIDENCE | {"slots": 0}}, "evidence.slots"),
        ({"version": 0}, "version"),
        ({"valid_to": day(1)}, "valid_to"),
    ],
)
def test_bad_sets_are_refused_by_name(said: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError) as refused:
        read_input(NewWeightSet, SET | said)
    assert [problem.field for problem in refused.value.problems] == [where]


def test_a_file_says_what_it_was_fitted_by() -> None:
    flat = {f"evidence.{k}": str(v) for k, v in EVIDENCE.items() if not isinstance(v, dict)}
    bounds = {f"evidence.{side}.output": str(EVIDENCE[side]["output"]) for side in ("low", "high")}
    bounds["evidence.low.step"] = "7"
    cells = {name: str(value) for name, value in SET.items()} | {"source": "calibrated"}
    read = read_texts(NewWeightSet, cells | flat | bounds)
    assert read.evidence is not None
    assert (read.evidence.low.output, read.evidence.low.step) == (350_000, 7)
    assert read.evidence.high.output == 370_000


async def test_a_new_set_is_allocated_by_from_its_time_on(worker: Connection) -> None:
    books, since = Books(worker), datetime(2026, 3, 2, 10, tzinfo=UTC)
    half, until = since + timedelta(minutes=30), since + timedelta(hours=1)
    await books.entity()
    await books.facility()
    await books.lease(since, until)
    await books.deployment(since, until)
    await allocate(worker, now=until)
    await enter_measured(worker, half)
    await allocate(worker, now=until)
    rows = await worker.fetch(
        "SELECT window_start, weight_version FROM cost_lines_at(9000000000000000) ORDER BY 1"
    )
    versions = [row["weight_version"] for row in rows]
    assert versions == [1, 1, 2, 2]
