"""Ids are looked up only of sources that send some again, and count once either way."""

import pytest

from ledger.domain.metering.fact import Fate
from ledger.flows.metering import duplicates
from ledger.flows.metering.duplicate_filter import FILTERED_BATCHES
from ledger.store.queries import Connection
from tests.support.usage import Gate, attempt, fates, keyed, open_books


@pytest.fixture
async def gate(worker: Connection) -> Gate:
    await open_books(worker)
    return Gate(worker)


async def test_new_ids_are_taken_without_a_look_up(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(duplicates, "find_taken")
    await gate.send(keyed(attempt("b")))
    await gate.send(keyed(attempt("a")))
    assert (await fates(gate.connection))["counted"] == 2


async def test_who_sends_again_is_looked_up_until_that_was_long_ago(gate: Gate) -> None:
    await gate.send(keyed(attempt("a")))
    assert not gate.directory.duplicate_filter.left
    (again,) = await gate.send(keyed(attempt("a"), attempt("new")))
    assert (again.counts[Fate.DUPLICATE], again.counts[Fate.COUNTED]) == (1, 1)
    (source_id,) = gate.directory.duplicate_filter.left
    for n in range(FILTERED_BATCHES - 1):
        await gate.send(keyed(attempt(f"n{n}")))
    assert gate.directory.duplicate_filter.left == {source_id: 1}
    await gate.send(keyed(attempt("last")))
    assert not gate.directory.duplicate_filter.left


async def test_a_conflict_behind_trust_is_found(gate: Gate) -> None:
    await gate.send(keyed(attempt("a")))
    assert await gate.outcomes(keyed(attempt("a", tokens=99))) == ["conflict"]
