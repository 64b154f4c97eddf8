"""Every export format: deterministic, complete in its table, safe to open, exact."""

import csv
import io
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledger.exports
from ledger.domain.books.exported import ExportedRow
from ledger.exports import EXPORT_FORMATS
from ledger.exports.csv_text import FORMULA_STARTS, exact, guard, money
from tests.exports.samples import AGENT, NAME, parts, scope

GOLDEN = Path(__file__).parents[1] / "golden" / "exports"
SUPPORT = {"usage_statement", "__init__", "form", "csv_text", "filenames"}
CSV_FORMATS = [name for name, each in EXPORT_FORMATS.items() if each.media_type == "text/csv"]
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**9))


def content(name: str, rows: Sequence[ExportedRow] | None = None, **changes: Any) -> bytes:
    """The whole file of a format, its rows written one page after the other."""
    found, whose = EXPORT_FORMATS[name], scope(**changes)
    rows = parts()[found.part] if rows is None else rows
    pages = [rows[at : at + 1] for at in range(len(rows))]
    lines = (text for page in pages for text in found.lines(whose, page))
    return "".join([*found.head(whose), *lines]).encode()


def table(name: str, **changes: Any) -> list[dict[str, str]]:
    text = content(name, **changes).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_a_format_writes_its_golden_sample(name: str) -> None:
    path = GOLDEN / name / EXPORT_FORMATS[name].filename
    written = content(name)
    if os.environ.get("TOKENLEDGER_WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written)
    assert written == path.read_bytes()


@pytest.mark.parametrize("name", CSV_FORMATS)
def test_an_empty_period_is_a_header_alone(name: str) -> None:
    text = content(name, []).decode()
    assert text.count("\r\n") == 1
    header, *_ = csv.reader(io.StringIO(text))
    assert len(header) == len(set(header)) > 5


def test_every_module_of_the_folder_is_in_the_table() -> None:
    folder = Path(next(iter(ledger.exports.__path__)))
    modules = {path.stem for path in folder.glob("*.py")} - SUPPORT
    assert modules == set(EXPORT_FORMATS)


@pytest.mark.parametrize("name", CSV_FORMATS)
def test_no_cell_starts_a_formula_unless_it_is_a_number(name: str) -> None:
    cells = [cell for row in table(name) for cell in row.values()]
    assert any(cell.startswith("'") or name == "journal_lines" for cell in cells)
    for cell in cells:
        if cell.startswith(FORMULA_STARTS):
            assert Decimal(cell) < 0


@given(st.text())
def test_guarded_text_is_the_text_behind_one_apostrophe_at_most(text: str) -> None:
    guarded = guard(text)
    assert guarded in (text, f"'{text}")
    assert not guarded.startswith(FORMULA_STARTS)


@pytest.mark.parametrize("before", ["", " ", "\ufeff", "\u200b ", "\xa0"])
@pytest.mark.parametrize("sign", "=+-@＝＋－＠")
def test_a_formula_behind_what_nobody_sees_is_one(before: str, sign: str) -> None:
    text = f"{before}{sign}1+1"
    assert guard(text) == f"'{text}"
    assert guard(f"{before}a{sign}1") == f"{before}a{sign}1"


def test_raw_leaves_text_as_it_is() -> None:
    assert {row["agent_id"] for row in table("usage", raw=True)} == {AGENT}
    assert {row["agent_id"] for row in table("usage")} == {f"'{AGENT}"}


def test_other_scripts_and_quotes_survive() -> None:
    assert table("invoices", raw=True)[0]["customer_name"] == f"@{NAME}"


@given(DECIMALS)
def test_money_loses_no_digit_and_has_no_exponent(value: Decimal) -> None:
    text = money(value, "EUR")
    assert Decimal(text) == value
    assert "E" not in text
    assert len(text.partition(".")[2]) >= 2


@pytest.mark.parametrize(
    ("value", "currency", "text"),
    [("5", "EUR", "5.00"), ("5", "JPY", "5"), ("5.1", "KWD", "5.100"), ("-0.00", "EUR", "0.00")],
)
def test_money_shows_the_minor_unit_of_its_currency(value: str, currency: str, text: str) -> None:
    assert money(Decimal(value), currency) == text


def test_a_decimal_is_written_plain() -> None:
    assert exact(Decimal("1E-12")) == "0.000000000001"


def test_debits_are_credits_in_each_entry_and_the_ranges_of_revisions_meet() -> None:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for row in table("journal_lines"):
        sums[row["entry_id"]] += Decimal(row["debit"] or 0) - Decimal(row["credit"] or 0)
    assert set(sums.values()) == {Decimal(0)}
    ranges = {
        row["entry_id"]: (row["ledger_seq_from"], row["ledger_seq_to"])
        for row in table("journal_lines")
        if row["entry_id"].startswith("revenue:")
    }
    assert list(ranges.values()) == [("1", "30"), ("31", "35"), ("36", "44")]


def test_a_margin_without_revenue_has_no_percentage_and_a_loss_is_negative() -> None:
    loss, nothing = sorted(table("margins"), key=lambda row: row["customer"], reverse=True)
    assert (nothing["gross_margin_pct"], nothing["markup_pct"]) == ("", "-100.00")
    assert loss["gross_margin_pct"] == "-13.84"


CHECKERS = {
    "bean-check": ("beancount", ["bean-check"]),
    "hledger": ("hledger", ["hledger", "check", "--strict", "ordereddates", "-f"]),
    "ledger": ("hledger", ["ledger", "--pedantic", "--strict", "bal", "-f"]),
}


@pytest.mark.parametrize("program", CHECKERS)
def test_accounting_programs_accept_a_journal_and_refuse_a_wrong_last_digit(
    program: str, tmp_path: Path
) -> None:
    name, command = CHECKERS[program]
    if shutil.which(program) is None:
        pytest.skip(
            f"{program.upper()} IS NOT INSTALLED: its judgement of the journal was not asked"
        )
    written = content(name)
    path = tmp_path / EXPORT_FORMATS[name].filename

    def accepted(text: bytes) -> bool:
        path.write_bytes(text)
        done = subprocess.run([*command, str(path)], capture_output=True, check=False)
        return done.returncode == 0

    assert accepted(written)
    assert not accepted(written.replace(b"6.620000000000", b"6.620000000001", 1))
