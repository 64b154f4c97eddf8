"""Holds days whose cost lines were let go against the lines, made again from facts and inputs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import polars as pl

from ledger.domain.cost.cost_line import AMOUNTS
from ledger.domain.errors import ConflictError
from ledger.flows.cost.recall import make_again
from ledger.store.books.check_books import DayUsage, Disagreement, Proof, sum_thin_day
from ledger.store.connect import AS_IT_STANDS
from ledger.store.cost import cost
from ledger.store.cost.allocations import (
    DayOf,
    find_allocated,
    lines_again,
    list_thin_days,
)
from ledger.store.queries import Connection

THIN_DAY = "thin_day"
# Scope, usage key, currency and terms of the hardware, and what it is a sum of.
_Figures: TypeAlias = Mapping[tuple[str, int, str, str, str], int]
_KEY = DayUsage._fields[:4]


async def prove_thin_days(connection: Connection, *, most: int) -> Proof:
    """Every sum of each usage key and day; nothing is written. In one snapshot."""
    wrong = [
        each
        for day in await list_thin_days(connection)
        for each in await _differing(connection, day)
    ]
    return Proof(len(wrong), wrong[:most])


async def _differing(connection: Connection, day: DayOf) -> list[Disagreement]:
    due: Counter[tuple[str, int, str, str, str]] = Counter()
    (entity,) = await cost.list_cost_entities(connection, entity_id=day.entity_id)
    asked = await find_allocated(connection, day.entity_id, [day.period], AS_IT_STANDS)
    try:
        async for again in make_again(connection, entity, asked):
            _add(due, lines_again(again.same, again.lines).frame())
    except ConflictError as error:
        return [
            Disagreement(
                *(THIN_DAY, f"{day.entity_id} {error.where}", day.day_start, "lines"),
                *("as they were allocated", "others"),
            )
        ]
    told = {
        (*each[:4], name): value
        for each in await sum_thin_day(connection, day)
        for name, value in zip(AMOUNTS, each[4:], strict=True)
    }
    return list(_unlike(day, due, told))


def _add(due: Counter[tuple[str, int, str, str, str]], lines: pl.DataFrame) -> None:
    for row in lines.select(*_KEY, *AMOUNTS).iter_rows():
        for name, value in zip(AMOUNTS, row[4:], strict=True):
            due[*row[:4], name] += value


def _unlike(day: DayOf, due: _Figures, told: _Figures) -> Iterator[Disagreement]:
    for figure in sorted({*due, *told}):
        expected, stored = due.get(figure, 0), told.get(figure, 0)
        if expected != stored:
            where = " ".join([day.entity_id, figure[0], str(figure[1])])
            yield Disagreement(
                *(THIN_DAY, where, day.day_start, figure[4]), *(str(expected), str(stored))
            )
