"""Statements of banks are read as they are, and hostile ones are refused before they act."""

import pytest

from ledger.domain.errors import InvalidInputError
from ledger.flows.billing.import_statement import read_statement
from ledger.wire.camt import read_camt
from ledger.wire.errors import FieldError
from tests.support.statements import IBAN, entry, statement

BOMB = """<?xml version="1.0"?><!DOCTYPE Document [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;">]><Document>&c;</Document>"""
OUTSIDE = """<?xml version="1.0"?><!DOCTYPE Document [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<Document><BkToCstmrStmt><Stmt><Id>&x;</Id></Stmt></BkToCstmrStmt></Document>"""


def test_an_entry_says_what_the_bank_said() -> None:
    (found,) = read_camt(statement(entry("117.49", "INV FACTORY-2023-000001", ref="R1")))
    assert (found.account, found.currency, found.skipped) == (IBAN, "USD", 0)
    (one,) = found.entries
    assert (one.bank_reference, one.booked_on, one.amount, one.currency) == (
        *("R1", "2023-12-05", "117.49"),
        "USD",
    )
    assert one.credit
    assert (one.payer, one.payer_account) == ("Acme GmbH", "DE89370400440532013000")
    assert one.reference == "INV FACTORY-2023-000001 E2E-7"


def test_an_entry_of_several_payments_is_each_of_them() -> None:
    parts = [("5.00", "first"), ("7.49", "second")]
    (found,) = read_camt(statement(entry("12.49", "", ref="R1", parts=parts)))
    assert [(one.bank_reference, one.amount) for one in found.entries] == [
        ("R1#1", "5.00"),
        ("R1#2", "7.49"),
    ]
    assert [one.reference for one in found.entries] == ["first", "second"]


@pytest.mark.parametrize(
    ("parts", "parts_in"),
    [((("5.00", "first"), ("7.00", "second")), "USD"), ((("5.00", "a"), ("7.49", "b")), "EUR")],
)
def test_payments_that_are_not_their_entry_count_as_it_was_booked(
    parts: list[tuple[str, str]], parts_in: str
) -> None:
    (found,) = read_camt(statement(entry("12.49", "", ref="R1", parts=parts, parts_in=parts_in)))
    (one,) = found.entries
    assert (one.bank_reference, one.amount, one.currency) == ("R1", "12.49", "USD")
    assert one.reference == " ".join(text for _, text in parts)


def test_payments_of_one_reference_are_told_apart() -> None:
    parts = [("5.00", "first"), ("5.00", "second"), ("2.49", "third")]
    (found,) = read_camt(statement(entry("12.49", "", ref="R1", parts=parts, parts_ref="R1")))
    assert [(one.bank_reference, one.amount) for one in found.entries] == [
        ("R1", "5.00"),
        ("R1#2", "5.00"),
        ("R1", "2.49"),
    ]


def test_what_is_taken_back_names_its_payer() -> None:
    (found,) = read_camt(statement(entry("5.00", "x", ref="R1", credit=False, takes_back=True)))
    (one,) = found.entries
    assert (one.credit, one.payer) == (False, "Acme GmbH")


def test_what_is_not_booked_yet_is_counted_and_left_out() -> None:
    entries, skipped = read_statement(
        statement(entry("1.00", "x", ref="R1", state="PDNG"), entry("2.00", "y", ref="R2"))
    )
    assert ([str(each.amount) for each in entries], skipped) == (["2.00"], 1)


def test_money_that_goes_is_below_zero() -> None:
    entries, _ = read_statement(statement(entry("1.00", "x", ref="R1", credit=False)))
    assert [str(each.amount) for each in entries] == ["-1.00"]


def test_older_and_newer_versions_are_read_alike() -> None:
    old = statement(entry("1.00", "x", ref="R1"), version="02")
    new = statement(entry("1.00", "x", ref="R1"), version="13")
    assert read_camt(old) == read_camt(new)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BOMB.encode(), "without a document type"),
        (BOMB.encode("utf-16"), "without a document type"),
        (OUTSIDE.encode(), "without a document type"),
        (b"<a>" * 100 + b"</a>" * 100, "at most 64 levels"),
        (b"", "can be read"),
        (b"\0" * 100, "can be read"),
        (b"<Document>", "can be read"),
        (b"<Document/>", "CAMT.053"),
        (b"<Invoice><BkToCstmrStmt><Stmt/></BkToCstmrStmt></Invoice>", "CAMT.053"),
        (b"<Document><BkToCstmrStmt/></Document>", "CAMT.053"),
        (b"booked_on,amount\n2023-12-05,1\n", "can be read"),
    ],
)
def test_hostile_or_other_files_are_refused(content: bytes, said: str) -> None:
    with pytest.raises(FieldError, match=said):
        read_camt(content)
    with pytest.raises(InvalidInputError, match="no statement of a bank"):
        read_statement(content)


@pytest.mark.parametrize(
    ("amount", "day", "said"),
    [
        *((amount, "2023-12-05", "amount") for amount in ("1e400", "NaN", "-5.00", "0.00")),
        *((amount, "2023-12-05", "amount") for amount in ("5,00", "9" * 30, "")),
        *(("1.00", day, "booked_on") for day in ("2023-02-30", "9999-01-01", "")),
    ],
)
def test_entries_that_say_nonsense_are_named(amount: str, day: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=f"entry 1 of STMT-1: .*{said}"):
        read_statement(statement(entry(amount, "x", ref="R1", day=day)))


def test_a_statement_whose_balances_do_not_add_up_is_refused() -> None:
    whole = statement(entry("5.00", "x", ref="R1"), balances=("10.00", "15.00"))
    assert len(read_statement(whole)[0]) == 1
    with pytest.raises(InvalidInputError, match=r"begins with 10\.00, books 5\.00 and ends with"):
        read_statement(statement(entry("5.00", "x", ref="R1"), balances=("10.00", "15.01")))
