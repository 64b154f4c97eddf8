"""What commands print as JSON comes from the encoder of the API: no float, no minus zero."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ledger.api.answer import encode
from ledger.commands.data.show import cell, print_json, print_table, say


def test_both_print_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"a": [Decimal("-0.0"), Decimal("1E-12")], "at": datetime(2024, 1, 1, tzinfo=UTC)}
    print_json(value)
    printed = json.loads(capsys.readouterr().out)
    assert (
        printed
        == json.loads(encode(value))
        == {
            "a": ["0.0", "0.000000000001"],
            "at": "2024-01-01T00:00:00.000000Z",
        }
    )


def test_a_float_is_not_printed() -> None:
    with pytest.raises(TypeError, match="float"):
        print_json({"price": 0.1})
    assert cell(Decimal("-0.00")) == "0.00"


def test_a_table_of_nothing_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Customers", ("customer_id", "name"), [])
    assert capsys.readouterr() == ("Customers: none.\n", "")


def test_what_events_name_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    named = "\x1b[2Jgpt\u202e-x\x9b31m"
    print_table("Usage", ("model",), [(named,), ("कंप्‍यूटर",), ("two\nlines",)])
    say(f"Suspense: {named}")
    printed = capsys.readouterr().out
    assert printed.count(r"\x1b[2Jgpt\u202e-x\x9b31m") == 2
    assert not set(printed) & {"\x1b", "\x9b", "\u202e"}
    assert "कंप्‍यूटर" in printed
    assert "two\\nlines" not in printed
