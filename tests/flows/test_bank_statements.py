"""What banks book pays what it names, once in whatever file; the rest waits for a person."""

from decimal import Decimal

import pytest

from ledger.domain.billing.bank_entry import find_numbers
from ledger.domain.errors import (
    ConflictError,
    InvalidInputError,
    MissingInputError,
    NotFoundError,
)
from ledger.flows.billing.credit import credit_invoice
from ledger.flows.billing.import_statement import (
    ImportedStatement,
    dismiss_entry,
    import_statement,
    match_by_hand,
    read_statement,
)
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.books.check_books import check_books
from ledger.flows.reference.parties import change_entity
from ledger.reports.billing.receivables import receivables_report
from ledger.store.queries import Connection
from ledger.wire.bank_inputs import BankEntryOwner, NewBankEntry
from ledger.wire.changes import EntityChange
from ledger.wire.inputs import read_input
from tests.flows.billing import (
    AUTHOR,
    NOW,
    WINDOW,
    azure_hours,
    balance_of,
    pay,
    registered,
    subscribed,
    treated,
)
from tests.support.statements import IBAN, entry, statement

NOTHING = (Decimal(0), Decimal(0))


@pytest.fixture
async def number(worker: Connection) -> str:
    """An invoice of 117.49 dollars of an entity that has said its account."""
    await azure_hours(await subscribed(worker))
    await registered(worker)
    await treated(worker, "standard")
    said = {"entity_id": "factory", "valid_from": "2023-01-01", "payment_account": spaced(IBAN)}
    await change_entity(worker, read_input(EntityChange, said), AUTHOR)
    issued = await issue_invoice(
        worker, subscription_id="sub-acme", moment=WINDOW, now=NOW, author=AUTHOR
    )
    return issued.number


def spaced(iban: str) -> str:
    return " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))


async def take(connection: Connection, content: bytes) -> ImportedStatement:
    entries, skipped = read_statement(content)
    return await import_statement(
        connection, entity_id="factory", entries=entries, author=AUTHOR, skipped=skipped
    )


async def owed(connection: Connection) -> tuple[Decimal, Decimal]:
    found = await receivables_report(connection, entity_id="factory", today=NOW.date())
    return next(((one.owed, one.on_account) for one in found.customers), NOTHING)


async def agree(connection: Connection) -> None:
    found = await check_books(connection)
    assert (found.differing, found.differences) == (0, [])


async def test_an_entry_pays_the_invoice_that_it_names_once_in_whatever_file(
    worker: Connection, number: str
) -> None:
    paying = entry("117.49", f"Rechnung {number.replace('-', ' ')} vielen Dank", ref="R1")
    done = await take(worker, statement(paying))
    assert (done.taken, done.known) == (1, 0)
    assert [(each.customer_id, list(each.payments)) for each in done.outcomes] == [("acme", ["R1"])]
    assert await owed(worker) == NOTHING
    assert await balance_of(worker, "1000") == Decimal("117.49")
    again = await take(worker, statement(paying))
    assert (again.taken, again.known, list(again.outcomes)) == (0, 1, [])
    more = await take(worker, statement(paying, entry("1.00", "nothing known", ref="R2")))
    assert (more.taken, more.known) == (1, 1)
    assert await worker.fetchval("SELECT count(*) FROM payment") == 1
    await agree(worker)


@pytest.mark.parametrize(
    ("amount", "left"),
    [("17.49", ("100.00", "0")), ("117.49", ("0", "0")), ("120.00", ("0", "2.51"))],
)
async def test_partial_exact_and_over(
    worker: Connection, number: str, amount: str, left: tuple[str, str]
) -> None:
    await take(worker, statement(entry(amount, number, ref="R1")))
    assert await owed(worker) == tuple(map(Decimal, left))
    await agree(worker)


async def test_what_names_a_paid_invoice_is_on_account(worker: Connection, number: str) -> None:
    await take(worker, statement(entry("117.49", number, ref="R1"), entry("5", number, ref="R2")))
    assert await owed(worker) == (Decimal(0), Decimal(5))


async def test_money_that_goes_back_is_a_refund_of_the_credit_note_it_names(
    worker: Connection, number: str
) -> None:
    await pay(worker, "bank-0", "117.49")
    note = await credit_invoice(
        worker, named=number, lines={2: Decimal("3.69")}, now=NOW, author=AUTHOR
    )
    done = await take(
        worker,
        statement(
            entry("4.61", f"Refund {note.number}", ref="R1", credit=False),
            entry("4.61", f"Refund {note.number}", ref="R2", credit=False),
        ),
    )
    assert [list(each.payments) for each in done.outcomes] == [["R1"], []]
    assert "has 0 USD on account" in done.outcomes[1].reason
    assert await owed(worker) == NOTHING
    await agree(worker)


async def test_what_nobody_can_tell_waits_for_a_person(worker: Connection, number: str) -> None:
    done = await take(
        worker,
        statement(
            entry("50.00", "thanks", ref="R1"),
            entry("9.00", "bank fee", ref="R2", credit=False, payer="The bank"),
            entry("3.00", number, ref="R3", currency="EUR"),
            entry("2.00", number, ref="R4", credit=False),
            entry("1.00", "FACTORY-2023-999999", ref="R5"),
        ),
    )
    assert [each.reason for each in done.outcomes] == [
        "it names no invoice",
        "it went out, and names no credit note",
        f"{number} is not in EUR",
        "it went out, and names no credit note",
        "it names no invoice",
    ]
    assert await worker.fetchval("SELECT count(*) FROM payment") == 0
    first, fee, *_ = (each.entry_id for each in done.outcomes)
    matched = await match_by_hand(
        worker, first, BankEntryOwner(customer_id="acme", invoice=number), AUTHOR
    )
    assert list(matched.payments) == ["R1"]
    assert await owed(worker) == (Decimal("67.49"), Decimal(0))
    await dismiss_entry(worker, fee, AUTHOR)
    for entry_id in (first, fee):
        with pytest.raises(ConflictError, match="Nobody waits"):
            await match_by_hand(worker, entry_id, BankEntryOwner(customer_id="acme"), AUTHOR)
        with pytest.raises(ConflictError, match="Nobody waits"):
            await dismiss_entry(worker, entry_id, AUTHOR)
    with pytest.raises(NotFoundError, match="no bank entry nonsense"):
        await dismiss_entry(worker, "nonsense", AUTHOR)
    await agree(worker)


async def test_a_name_and_the_exact_sum_are_enough(worker: Connection, number: str) -> None:
    done = await take(
        worker,
        statement(
            entry("117.48", "", ref="R1", payer="ACME"), entry("117.49", "", ref="R2", payer="acme")
        ),
    )
    assert [list(each.payments) for each in done.outcomes] == [[], ["R2"]]
    assert await owed(worker) == NOTHING


async def test_a_statement_of_another_account_is_refused_whole(
    worker: Connection, number: str
) -> None:
    foreign = statement(entry("117.49", number, ref="R1"), account="DE89370400440532013000")
    with pytest.raises(ConflictError, match="DE89370400440532013000, which is none of factory's"):
        await take(worker, foreign)
    await subscribed(worker, customer_id="stray", entity_id="other")
    entries, _ = read_statement(statement(entry("1", number, ref="R1")))
    with pytest.raises(MissingInputError, match="other has said no account"):
        await import_statement(worker, entity_id="other", entries=entries, author=AUTHOR)
    with pytest.raises(NotFoundError, match="no entity nobody"):
        await import_statement(worker, entity_id="nobody", entries=entries, author=AUTHOR)
    assert await worker.fetchval("SELECT count(*) FROM bank_entry") == 0


async def test_entries_without_a_reference_of_the_bank_count_once_as_well(
    worker: Connection, number: str
) -> None:
    said = {"account": IBAN, "booked_on": "2023-12-05", "currency": "USD", "amount": "10"}
    same = [read_input(NewBankEntry, said | {"reference": number})] * 2
    for known in (0, 2):
        done = await import_statement(worker, entity_id="factory", entries=same, author=AUTHOR)
        assert (done.taken, done.known) == (2 - known, known)
    assert await owed(worker) == (Decimal("97.49"), Decimal(0))


async def test_a_reference_that_a_bank_gives_twice_loses_no_money(
    worker: Connection, number: str
) -> None:
    twice = [entry(amount, number, ref="R1") for amount in ("10.00", "20.00", "20.00")]
    done = await take(worker, statement(*twice))
    assert (done.taken, done.known) == (3, 0)
    paid = [each.payments[0] for each in done.outcomes]
    assert (paid[0], len(set(paid))) == ("R1", 3)
    assert await owed(worker) == (Decimal("67.49"), Decimal(0))
    again = await take(worker, statement(twice[1], twice[2]))
    assert (again.taken, again.known) == (0, 2)
    other_day = await take(worker, statement(entry("10.00", number, ref="R1", day="2023-12-06")))
    assert (other_day.taken, len(other_day.outcomes[0].payments)) == (1, 1)
    assert await owed(worker) == (Decimal("57.49"), Decimal(0))
    await agree(worker)


async def test_an_amount_finer_than_its_currency_waits(worker: Connection, number: str) -> None:
    done = await take(worker, statement(entry("1.005", number, ref="R1")))
    assert "finer than its minor unit" in done.outcomes[0].reason


async def test_a_payment_entered_by_hand_under_the_banks_id_is_not_paid_again(
    worker: Connection, number: str
) -> None:
    await pay(worker, "R1", "117.49")
    done = await take(worker, statement(entry("117.49", number, ref="R1")))
    assert "R1 is already recorded" in done.outcomes[0].reason
    assert await worker.fetchval("SELECT count(*) FROM payment") == 1


def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="more than 16 MiB"):
        read_statement(b" " * (16 * 2**20 + 1))


@pytest.mark.parametrize(
    "text",
    [
        *("FA-2026-000017", "fa 2026 000017", "FA2026000017", "inv.FA-2026-000017/2026-01-05"),
        *("FA-2026-000017 2026", "x FA/2026/000 017 y", "FA_2026_000017"),
    ],
)
def test_a_number_is_found_however_it_is_written(text: str) -> None:
    assert "FA-2026-000017" in find_numbers(text, "FA")


@pytest.mark.parametrize(
    "text",
    ["", "XFA-2026-000017", "FA-2026-17", "FA-2026-00001x7", "2026-000017", "FB-2026-000017"],
)
def test_what_is_no_number_is_not_found(text: str) -> None:
    assert "FA-2026-000017" not in find_numbers(text, "FA")
