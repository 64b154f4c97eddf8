"""A table leaves columns out before it breaks a number or a name."""

import io
import re

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from ledger.reports.table_fit import BESIDE, Fitted, fit_columns

NAMES = st.text("abcdefgh-_1234567890", min_size=1, max_size=30)
NUMBERS = st.decimals(-(10**12), 10**12, places=4).map(lambda value: f"{value:,}")


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]], list[str]]:
    count = draw(st.integers(1, 12))
    headers = [f"column {index}" for index in range(count)]
    cells = st.lists(st.one_of(NAMES, NUMBERS), min_size=count, max_size=count)
    first = draw(st.permutations(headers))[: draw(st.integers(0, count))]
    return headers, draw(st.lists(cells, max_size=6)), first


def shown(fitted: Fitted, headers: list[str], rows: list[list[str]], width: int) -> str:
    table = Table()
    for index, wide in zip(fitted.shown, fitted.widths, strict=True):
        table.add_column(headers[index], overflow="fold", width=wide)
    for row in rows:
        table.add_row(*(row[index] for index in fitted.shown))
    out = io.StringIO()
    Console(width=max(width, 400), file=out, color_system=None).print(table)
    return out.getvalue()


@given(made=tables(), width=st.integers(10, 200))
def test_every_cell_that_is_shown_stands_in_one_piece_and_within_the_width(
    made: tuple[list[str], list[list[str]], list[str]], width: int
) -> None:
    headers, rows, first = made
    fitted = fit_columns(headers, rows, width, first=first, numbers=range(len(headers)))
    text = shown(fitted, headers, rows, width)
    assert sorted((*fitted.shown, *fitted.dropped)) == list(range(len(headers)))
    pieces = {piece.strip() for line in text.splitlines() for piece in re.split("[│┃]", line)}
    for row in rows:
        assert {row[index] for index in fitted.shown} <= pieces
    if len(fitted.shown) > 1:
        assert max(len(line) for line in text.splitlines()) <= width
    kept = [name for name in first if headers.index(name) in fitted.shown[1:]]
    wanted = [name for name in first if headers.index(name) != 0]
    assert kept == wanted[: len(kept)]


def test_without_a_width_every_column_has_all_it_wants() -> None:
    fitted = fit_columns(["a", "amount"], [["x" * 90, "1,234.5"]], None)
    assert fitted == Fitted((0, 1), (90, 7), ())


def test_a_long_text_is_folded_before_a_column_is_left_out() -> None:
    rows = [["id-1", "a sentence that goes on and on until it is too long for a line", "12.50"]]
    fitted = fit_columns(["id", "reason", "amount"], rows, 60, numbers=[2])
    assert fitted.dropped == ()
    assert sum(wide + BESIDE for wide in fitted.widths) + 1 == 60
