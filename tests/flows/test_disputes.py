"""What customers dispute: nobody reminds them of it until a credit note or a person resolves it."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ledger.flows.billing.credit import credit_invoice
from ledger.flows.billing.dispute import ResolvedDispute, open_dispute, resolve_dispute
from ledger.flows.settle import settle
from ledger.reports.billing.receivables import receivables_report, to_json
from ledger.store.queries import Connection
from tests.flows.billing import AUTHOR, NOW
from tests.flows.test_dunning import due_on, number, run_at

__all__ = ["number"]


async def dispute(connection: Connection, number: str, line_no: int | None = None) -> int:
    done = await open_dispute(connection, named=number, line_no=line_no, now=NOW, author=AUTHOR)
    return done.dispute_id


async def resolve(connection: Connection, dispute_id: int, outcome: str) -> ResolvedDispute:
    return await resolve_dispute(
        connection, dispute_id=dispute_id, outcome=outcome, now=NOW, author=AUTHOR
    )


async def credit(connection: Connection, number: str, lines: Mapping[int, Decimal]) -> None:
    await credit_invoice(connection, named=number, lines=lines, now=NOW, author=AUTHOR)


async def owed_on(connection: Connection, today: date) -> tuple[Any, Any]:
    report = await receivables_report(connection, entity_id="factory", today=today)
    said = to_json(report)
    return said["customers"], said["invoices"]


async def outcomes(connection: Connection) -> list[tuple[Any, ...]]:
    rows = await connection.fetch(
        "SELECT d.dispute_id, r.outcome FROM dispute d LEFT JOIN dispute_resolution r"
        " USING (dispute_id) ORDER BY 1"
    )
    return [tuple(row) for row in rows]


async def test_what_is_disputed_waits_and_receivables_say_so(
    worker: Connection, number: str
) -> None:
    late = await due_on(worker) + timedelta(days=10)
    dispute_id = await dispute(worker, number, 1)
    assert list((await run_at(worker, late)).letters) == []
    (owed,), (item,) = await owed_on(worker, late.date())
    assert (owed["owed"], owed["disputed"]) == (Decimal("93.99"), Decimal("93.99"))
    assert (owed["days_1_to_30"], item["disputed"]) == (Decimal("93.99"), True)
    assert await resolve(worker, dispute_id, "rejected") == ResolvedDispute(1, "rejected")
    assert [each.level for each in (await run_at(worker, late)).letters] == [1]
    (owed,), (item,) = await owed_on(worker, late.date())
    assert (owed["disputed"], item["disputed"]) == (0, False)


async def test_a_credit_note_resolves_what_it_takes_back(worker: Connection, number: str) -> None:
    await dispute(worker, number, 1)
    await dispute(worker, number, 2)
    await credit(worker, number, {2: Decimal("0.01")})
    assert await outcomes(worker) == [(1, None), (2, "credited")]
    await dispute(worker, number)
    await credit(worker, number, {2: Decimal("0.01")})
    assert await outcomes(worker) == [(1, None), (2, "credited"), (3, "credited")]
    await dispute(worker, number, 2)
    await credit(worker, number, {1: Decimal("0.01")})
    assert await outcomes(worker) == [
        *((1, "credited"), (2, "credited")),
        *((3, "credited"), (4, None)),
    ]


async def test_what_cannot_be_disputed_or_has_ended_is_refused_by_name(
    worker: Connection, number: str
) -> None:
    with pytest.raises(NotFoundError, match="no invoice nothing"):
        await dispute(worker, "nothing")
    with pytest.raises(NotFoundError, match="has no line 99"):
        await dispute(worker, number, 99)
    with pytest.raises(InvalidInputError, match="No reason"):
        await open_dispute(
            worker, named=number, line_no=None, now=NOW, author=Author("cli:test", " ", "r")
        )
    first = await dispute(worker, number)
    with pytest.raises(ConflictError, match="disputed already"):
        await dispute(worker, number)
    await resolve(worker, first, "withdrawn")
    with pytest.raises(ConflictError, match="was withdrawn before"):
        await resolve(worker, first, "rejected")
    with pytest.raises(NotFoundError, match="no dispute 77"):
        await resolve(worker, 77, "rejected")
    await credit_invoice(worker, named=number, lines=None, void=True, now=NOW, author=AUTHOR)
    with pytest.raises(ConflictError, match="is void"):
        await dispute(worker, number)
    assert await outcomes(worker) == [(1, "withdrawn")]


async def test_the_stage_writes_what_is_due_once_a_day_by_the_policy(
    worker: Connection, number: str
) -> None:
    async def letters() -> int:
        return int(await worker.fetchval("SELECT count(*) FROM dunning_letter"))

    due = await due_on(worker)
    levels = []
    for late in (6, 7, 8, 13, 14, 15, 31):
        for hour in (1, 20):
            await settle(worker, now=due + timedelta(days=late, hours=hour))
            levels.append(await letters())
    assert levels == [0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3]
    # Nobody wrote by hand.
    wrote = "SELECT count(*) FROM manual_write WHERE action = 'write dunning letter'"
    assert await worker.fetchval(wrote) == 0


async def test_a_letter_that_cannot_be_written_is_parked_and_written_later_the_same_day(
    worker: Connection, owner: Connection, number: str
) -> None:
    at = await due_on(worker) + timedelta(days=7)
    await owner.execute("ALTER TABLE dunning_letter ADD CONSTRAINT no_acme CHECK (level < 1)")
    done = {run.stage: run for run in await settle(worker, now=at)}["dun"]
    assert [each.what.subject for each in done.parked] == ["acme"]
    assert "no_acme" in done.parked[0].what.reason
    await owner.execute("ALTER TABLE dunning_letter DROP CONSTRAINT no_acme")
    done = {run.stage: run for run in await settle(worker, now=at + timedelta(hours=9))}["dun"]
    assert (done.rows_written, done.parked) == (1, ())
