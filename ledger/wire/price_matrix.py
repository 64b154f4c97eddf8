"""A table of prices by one or two of the dimensions of usage, as people enter it."""

from collections.abc import Sequence
from itertools import product
from typing import Literal

from pydantic import model_validator

from ledger.wire.errors import FieldError, problem_at
from ledger.wire.input_fields import Label, Price
from ledger.wire.inputs import InputModel

Dimension = Literal[
    "project_id", "agent_id", "model", "tier", "adapter", "region", "band_from", "hours"
]


def read_cell(text: str) -> dict[str, object]:
    """A cell written as `ROW|COLUMN:AMOUNT`, or `ROW:AMOUNT` of one dimension; FieldError for other
    text."""
    named, colon, amount = text.rpartition(":")
    row, *columns = (part.strip() for part in named.split("|"))
    if not colon or not row or len(columns) > 1:
        raise FieldError("send a cell like llama|batch:5 or llama:5")
    said: dict[str, object] = {"row": row, "amount": amount.strip()}
    return said | dict(zip(["column"], columns, strict=False))


class PriceCell(InputModel):
    """The `amount` for what is `row` of the first dimension of a matrix, and `column` of the second
    where it has two. As text: `llama|batch:5`, `llama:5`."""

    row: Label
    column: Label | None = None
    amount: Price

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, said: object) -> object:
        return read_cell(said) if isinstance(said, str) else said


def check_cells(by: Sequence[str], cells: Sequence[PriceCell]) -> None:
    """FieldError unless each pair of a row and a column has one cell, and each cell names as much
    as there are dimensions."""
    if not cells:
        return
    pairs: dict[tuple[str, str | None], int] = {}
    for n, cell in enumerate(cells):
        pair = (cell.row, cell.column)
        if (cell.column is not None) != (len(by) == 2):
            action = "leave it out" if len(by) < 2 else f"send a {by[1]}"
            raise problem_at(f"cells.{n}.column", str(cell.column or "nothing"), action)
        if pairs.setdefault(pair, n) != n:
            said = " and ".join(filter(None, pair))
            raise problem_at(f"cells.{n}", said, "send one cell for each place")
        said_by(by, cell, n)
    rows, columns = (dict.fromkeys(names) for names in zip(*pairs, strict=True))
    hole = next((pair for pair in product(rows, columns) if pair not in pairs), None)
    if hole is not None:
        said = f"nothing for {' and '.join(filter(None, hole))}"
        raise problem_at("cells", said, "send a cell for each row in each column")


def said_by(by: Sequence[str], cell: PriceCell, n: int = 0) -> dict[str, object]:
    """What a cell says of the dimensions; FieldError names one that is no number and should be."""
    said: dict[str, object] = dict(zip(by, (cell.row, cell.column), strict=False))
    edge = said.get("band_from")
    if isinstance(edge, str):
        if not (edge.isascii() and edge.isdigit() and len(edge) < 19):
            raise problem_at(f"cells.{n}", edge, "send a whole number of tokens")
        said["band_from"] = int(edge)
    return said
