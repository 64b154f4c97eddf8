"""What is asked to be credited: each line once, and a reason that can stand on a document."""

from decimal import Decimal

import pytest

from ledger.wire.errors import InputError
from ledger.wire.inputs import read_input
from ledger.wire.receivable_inputs import CreditAsk

LINE = {"line_no": 1, "amount": "1.00"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"lines": [LINE, LINE | {"amount": "2"}]},
            "lines: found line 1 twice; send each line once",
        ),
        ({"reason": "good\u202elliw"}, r"reason: .*remove the sign U\+202E"),
        ({"reason": "bell\x07"}, r"reason: .*remove the sign U\+0007"),
        ({"void": True}, "lines: .*leave them out"),
    ],
)
def test_what_cannot_be_credited_so_is_told(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_input(CreditAsk, {"reason": "goodwill", "lines": [LINE]} | change)


def test_lines_are_read_by_number_and_none_are_all() -> None:
    read = read_input(CreditAsk, {"reason": "two\nlines", "lines": [LINE]})
    assert read.amounts == {1: Decimal(1)}
    assert read_input(CreditAsk, {"reason": "all"}).amounts is None
