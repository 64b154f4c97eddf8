"""Whatever ends a worker or takes its partition, each record has one fate, in its order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ledger.flows.metering import commit
from ledger.store.metering.positions import PositionMove, find_positions, move_position
from ledger.store.queries import Connection
from ledger.stream.consumer import Worker
from ledger.stream.isolation import Isolation
from tests.simulation.worker import run

# `make torture` runs twenty thousand.
SEEDS = range(1, 101)


def test_no_life_of_workers_loses_doubles_or_skips_anything() -> None:
    wrong = {found.seed: found.wrong for found in map(run, SEEDS) if found.wrong}
    assert wrong == {}


async def from_anywhere(connection: Connection, move: PositionMove, *, batch_seq: int) -> bool:
    """A position that is not compared with the one expected."""
    at = move.partition
    found = await find_positions(
        connection, cluster_id=at.cluster_id, topic_id=at.topic_id, partitions=[at.partition]
    )
    stands = replace(move, expected=found[at.partition])
    return await move_position(connection, stands, batch_seq=batch_seq)


async def apart(
    connection: Connection, attempt: Any, *, moves: Sequence[PositionMove], order: Any
) -> Any:
    """Rows first, and the position in a transaction of its own."""
    async with connection.transaction():
        async with order.taking_ids():
            batch_seq = await attempt.take_ids(connection)
        found = await attempt.write(connection, batch_seq)
        await order.moving()
    await commit._move(connection, moves, batch_seq)
    return found


def all_of_it(
    self: Isolation, moves: Sequence[PositionMove], _records: int, why: Exception
) -> None:
    """Whatever was in a batch that failed goes aside."""
    for move in moves:
        for offset in range(move.expected, move.next_offset):
            self.failed[move.partition.partition, offset] = why


def whatever_comes(_: Worker, __: int, records: Sequence[Any]) -> list[Any]:
    """Records that were stored before as well."""
    return list(records)


async def nothing_lacks(_: Worker, __: Mapping[int, Sequence[Any]]) -> bool:
    """A log that begins later is read from there."""
    return False


def by_outages_too(
    self: Isolation, moves: Sequence[PositionMove], records: int, why: Exception
) -> None:
    """A record that failed alone is a dead letter, whoever is to blame."""
    if records > 1:
        self._send_less(moves, records)
    else:
        self.failed[moves[0].partition.partition, moves[0].next_offset - 1] = why


def never_aside(_: Isolation, __: Sequence[PositionMove], ___: int, ____: Exception) -> None:
    """What the database refuses is tried for ever."""


@pytest.mark.parametrize(
    ("where", "what", "instead"),
    [
        (commit, "move_position", from_anywhere),
        (commit, "_store", apart),
        (Isolation, "narrow", all_of_it),
        (Isolation, "hold", by_outages_too),
        (Isolation, "hold", never_aside),
        (Worker, "_fresh", whatever_comes),
        (Worker, "_lacks_some", nothing_lacks),
    ],
    ids=lambda one: getattr(one, "__name__", str(one)),
)
def test_the_simulation_sees_what_would_be_broken(
    monkeypatch: pytest.MonkeyPatch, where: object, what: str, instead: Callable[..., Any]
) -> None:
    monkeypatch.setattr(where, what, instead)
    assert any(run(seed).wrong for seed in SEEDS)


@pytest.mark.parametrize("seed", [7, 10])
def test_a_seed_is_always_the_same(seed: int) -> None:
    assert run(seed) == run(seed)
