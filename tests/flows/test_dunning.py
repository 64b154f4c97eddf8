"""Letters about what is overdue: each invoice once at each level, in its customer's language."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader

from ledger.domain.billing.dunning import LastReminder, due_reminders
from ledger.domain.billing.receivable import OpenItem
from ledger.domain.errors import MissingInputError, NotFoundError
from ledger.flows.billing.dun import DunningRun, run_dunning
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.reference.enter_dunning import enter_dunning_policy
from ledger.flows.reference.parties import change_customer
from ledger.reports.billing.receivables import receivables_report, to_json
from ledger.store.billing.dunning import find_letter
from ledger.store.queries import Connection
from ledger.wire.changes import CustomerChange
from ledger.wire.dunning_inputs import NewDunningPolicy
from ledger.wire.errors import InputError
from ledger.wire.inputs import read_input
from tests.flows.billing import AUTHOR, NOW, WINDOW, azure_hours, pay, subscribed

POLICY = {
    **{"entity_id": "factory", "valid_from": "2023-01-01T00:00:00Z"},
    "reminder_days": [7, 14, 30],
}


@pytest.fixture
async def number(worker: Connection) -> str:
    """An invoice of 93.99 dollars to a customer who reads German, due on 2023-12-16 or later."""
    await azure_hours(await subscribed(worker))
    said = {"customer_id": "acme", "valid_from": "2023-01-01", "language": "de"}
    change = read_input(CustomerChange, said | {"payment_days": 14, "address": "Ring 1\n1010 Wien"})
    await change_customer(worker, change, AUTHOR)
    await enter_dunning_policy(worker, read_input(NewDunningPolicy, POLICY), AUTHOR)
    issued = await issue_invoice(
        worker, subscription_id="sub-acme", moment=WINDOW, now=NOW, author=AUTHOR
    )
    return issued.number


async def run_at(connection: Connection, at: datetime) -> DunningRun:
    return await run_dunning(connection, entity_id="factory", now=at, author=AUTHOR)


async def due_on(connection: Connection) -> datetime:
    found = await connection.fetchval("SELECT due_on FROM invoice")
    return NOW.replace(year=found.year, month=found.month, day=found.day)


async def test_letters_follow_the_policy_each_once(worker: Connection, number: str) -> None:
    due = await due_on(worker)
    levels = []
    for late in range(45):
        done = await run_at(worker, due + timedelta(days=late))
        again = await run_at(worker, due + timedelta(days=late))
        assert (done.refused, list(again.letters)) == ([], [])
        levels += [(late, each.level) for each in done.letters]
    assert levels == [(7, 1), (14, 2), (30, 3)]
    found = await receivables_report(
        worker, entity_id="factory", today=(due + timedelta(days=44)).date()
    )
    invoices = to_json(found)["invoices"]
    assert isinstance(invoices, list)
    told = {name: invoices[0][name] for name in ("reminders", "reminded_on")}
    assert told == {"reminders": 3, "reminded_on": (due + timedelta(days=30)).date()}


async def test_a_letter_is_in_the_customers_language_and_names_what_is_open(
    worker: Connection, number: str
) -> None:
    await pay(worker, "bank-1", "3.99", invoice=number)
    done = await run_at(worker, await due_on(worker) + timedelta(days=8))
    (letter,) = done.letters
    assert (letter.customer_id, letter.open, list(letter.invoices)) == (
        *("acme", Decimal("90.00")),
        [number],
    )
    content = await find_letter(worker, letter.letter_id)
    text = PdfReader(BytesIO(content or b"")).pages[0].extract_text()
    for part in ("Zahlungserinnerung", number, "90.00", "Ring 1", "1010 Wien", "Factory"):
        assert part in text
    assert await worker.fetchval("SELECT sha256 = sha256(content) FROM dunning_letter")


async def test_who_was_never_reminded_is_reminded_first_however_late(
    worker: Connection, number: str
) -> None:
    due = await due_on(worker)
    late = due + timedelta(days=100)
    assert [each.level for each in (await run_at(worker, late)).letters] == [1]
    assert list((await run_at(worker, late + timedelta(days=6))).letters) == []
    assert [e.level for e in (await run_at(worker, late + timedelta(days=7))).letters] == [2]


async def test_what_is_paid_or_not_overdue_has_no_letter(worker: Connection, number: str) -> None:
    due = await due_on(worker)
    assert list((await run_at(worker, due)).letters) == []
    await pay(worker, "bank-1", "93.99", invoice=number)
    assert list((await run_at(worker, due + timedelta(days=60))).letters) == []


async def test_without_a_policy_nobody_is_reminded(worker: Connection) -> None:
    await subscribed(worker)
    with pytest.raises(MissingInputError, match="factory has said nothing of when"):
        await run_at(worker, NOW)
    with pytest.raises(NotFoundError, match="no entity nobody"):
        await run_dunning(worker, entity_id="nobody", now=NOW, author=AUTHOR)


@pytest.mark.parametrize("days", [[], [0], [7, 7], [14, 7], [-1], [4_000], list(range(1, 12))])
def test_days_that_do_not_rise_are_refused(days: list[int]) -> None:
    with pytest.raises(InputError, match="reminder_days"):
        read_input(NewDunningPolicy, POLICY | {"reminder_days": days})


@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=6, unique=True).map(sorted),
    st.lists(st.integers(0, 40), min_size=1, max_size=30),
)
def test_levels_come_in_order_once_and_never_too_soon(days: list[int], pauses: list[int]) -> None:
    due = date(2024, 1, 1)
    item = OpenItem(1, "N", "acme", "EUR", due, due, Decimal(5), Decimal(0), Decimal(0))
    last: dict[int, LastReminder] = {}
    today, levels = due, []
    for pause in pauses:
        today += timedelta(days=pause)
        before, found = last.get(1), due_reminders([item], last, days, today)
        reached = before.level if before else 0
        if reached < len(days):
            # As soon as both have gone by: its days overdue, and those since the letter before.
            waits = [(today - due, days[reached])]
            if before:
                waits.append((today - before.written_on, days[reached] - days[reached - 1]))
            assert len(found) == all(gone.days >= wait for gone, wait in waits)
        for each in found:
            assert each.level == (before.level if before else 0) + 1
            assert each.late_days >= days[each.level - 1]
            if before:
                gap = days[each.level - 1] - days[each.level - 2]
                assert (today - before.written_on).days >= gap
            last[1] = LastReminder(each.level, today)
            levels.append(each.level)
    assert levels == list(range(1, len(levels) + 1))
    assert len(levels) <= len(days)
