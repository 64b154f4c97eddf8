"""Columns as the binary stream that PostgreSQL's COPY reads, without a Python object per value.

Rows with the same fields known, and texts of the same lengths, are alike byte for byte but for
their values: each such group is one array of fixed records.
https://www.postgresql.org/docs/18/sql-copy.html (binary format).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger.domain.arrays import Octets

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_EPOCH_DATE = date(2000, 1, 1)
# Microseconds and days from 1970, where ours begin, to 2000, where PostgreSQL's do.
EPOCH_US = 946_684_800_000_000
_CHUNK_BYTES = 1 << 18
_NULL = -1
NUMBER = "batch_seq"
_TEN_16 = pl.Series([10**16], dtype=pl.Int128)
_DECIMALS, _NEGATIVE = 12, 0x4000


@dataclass(frozen=True, slots=True)
class Field:
    """A column's values, and the type they have on the wire; `known` None is no null.

    `lengths` is set for texts of several lengths alone, whose values are then where each begins
    among `octets`.
    """

    name: str
    values: NDArray[Any]
    dtype: str
    known: NDArray[np.bool_] | None = None
    lengths: NDArray[np.int32] | None = None
    octets: Octets | None = None

    def at(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        """The values of some rows, of one length where they are texts."""
        values = self.values[rows]
        if self.lengths is None or self.octets is None:
            return values
        length = int(self.lengths[rows][0])
        texts: NDArray[Any] = self.octets[values[:, None] + np.arange(length)]
        return texts.view(f"V{length}").reshape(-1)


def field(name: str, series: pl.Series) -> Field:
    """A column as its table has it: whole numbers by their width, times, a day, text, bytes, and
    amounts."""
    known = series.is_not_null().to_numpy() if series.null_count() else None
    dtype = series.dtype
    if series.null_count() == len(series):
        return Field(name, np.zeros(len(series), "V1"), "V1", known)
    if dtype in {pl.String, pl.Binary}:
        return _texts(name, series.cast(pl.Binary), known)
    if dtype == pl.Datetime:
        micros = series.cast(pl.Int64).fill_null(EPOCH_US).to_numpy() - EPOCH_US
        return Field(name, micros, ">i8", known)
    if dtype == pl.Date:
        days = series.cast(pl.Int32).to_numpy() - (_EPOCH_DATE - date(1970, 1, 1)).days
        return Field(name, days, ">i4", known)
    if dtype == pl.Int128:
        return amounts(name, series)
    filled = series.fill_null(0) if known is not None else series
    return Field(name, filled.to_numpy(), _WIDTHS[str(dtype)], known)


_WIDTHS: Mapping[str, str] = {"Int8": ">i2", "Int16": ">i2", "Int32": ">i4", "Int64": ">i8"}


def _texts(name: str, series: pl.Series, known: NDArray[np.bool_] | None) -> Field:
    lengths = series.bin.size().fill_null(0).cast(pl.Int32).to_numpy()
    width = int(lengths[0])
    if known is None and width and (lengths == width).all():
        return _fixed(name, series, width)
    octets = np.frombuffer(b"".join(series.drop_nulls().to_list()), np.uint8)
    begins = np.cumsum(lengths, dtype=np.int64) - lengths
    return Field(name, begins, "", known, lengths, octets)


def _fixed(name: str, series: pl.Series, width: int) -> Field:
    return Field(name, np.frombuffer(b"".join(series.to_list()), f"V{width}"), f"V{width}")


def bits(name: str, octets: pl.Series, width: int) -> Field:
    """So many bits a row as octets, the first one the highest of the first octet; none is null."""
    length = width.to_bytes(4, "big")
    said = pl.Series([length + row for row in octets.to_list()], dtype=pl.Binary)
    return _fixed(name, said, 4 + -(-width // 8))


def amounts(name: str, series: pl.Series) -> Field:
    """Whole numbers of 1e-12, of 128 bits and none of them null, as numeric of twelve decimals.

    Sixteen digits below, of which twelve are decimals, and as many above as the largest needs, four
    by four; PostgreSQL strips what leads with zeros.
    """
    size = series.abs()
    above = size // _TEN_16
    low = (size - above * _TEN_16).cast(pl.Int64).to_numpy()
    high = above.cast(pl.Int64).to_numpy()
    more = -(-len(str(int(high.max()))) // 4) if high.any() else 0
    names = ("digits", "weight", "sign", "decimals")
    record = np.zeros(
        len(series), np.dtype([*((each, ">u2") for each in names), ("groups", ">u2", (more + 4,))])
    )
    record["digits"], record["weight"], record["decimals"] = more + 4, more, _DECIMALS
    record["sign"] = np.where((series < 0).to_numpy(), _NEGATIVE, 0)
    for at, values in ((more + 4, low), (more, high)):
        for step in range(1, min(at, 4 if values is low else more) + 1):
            record["groups"][:, at - step] = values // 10 ** (4 * (step - 1)) % 10_000
    width = f"V{record.dtype.itemsize}"
    return Field(name, record.view(width), width)


def uuids(name: str, series: pl.Series) -> Field:
    """Sixteen bytes a row, none of them null."""
    return _fixed(name, series, 16)


class Rows:
    """Rows as they go into a table, under `batch_seq`, their number in the stored order, which is
    drawn last, unless each has its own among its fields. They are encoded as they are sent: what is
    large is never there twice."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self.count = int(fields[0].values.shape[0])
        names = [column.name for column in fields]
        self._own = NUMBER in names
        self.columns = tuple(names) if self._own else (*names, NUMBER)
        self._fields = fields
        self._groups = _alike(fields, self.count)
        self._batch_seq = 0

    @classmethod
    def of(cls, frame: pl.DataFrame, columns: Sequence[str]) -> "Rows":
        """The columns of a frame; the number comes later, where the frame does not have it."""
        there = [name for name in columns if name != NUMBER or NUMBER in frame.columns]
        return cls([field(name, frame[name]) for name in there])

    def number(self, batch_seq: int) -> None:
        """Give every row its number."""
        self._batch_seq = batch_seq

    def chunks(self) -> Iterator[memoryview]:
        """The stream, in pieces of a size that suits a socket; each is gone once the next is asked
        for."""
        number = np.broadcast_to(np.array(self._batch_seq), (self.count,))
        fields = [*self._fields] if self._own else [*self._fields, Field(NUMBER, number, ">i8")]
        yield memoryview(HEADER)
        for rows in self._groups:
            yield from _blocks(fields, rows, self.count if rows is None else rows.size)
        yield memoryview(TRAILER)


def _alike(fields: Sequence[Field], count: int) -> list[NDArray[np.int64] | None]:
    """Groups of rows with the same known fields and lengths; None is all rows."""
    if count == 0:
        return []
    traits = [column.known for column in fields if column.known is not None]
    traits += [column.lengths for column in fields if column.lengths is not None]  # type: ignore[misc]
    varied = [trait for trait in traits if (trait != trait[0]).any()]
    if not varied:
        return [None]
    order = np.lexsort(varied)
    differs = np.any([each[order][1:] != each[order][:-1] for each in varied], axis=0)
    groups = list(np.split(order, np.flatnonzero(differs) + 1))
    groups.sort(key=_first)
    return [*groups]


def _first(rows: NDArray[np.int64]) -> int:
    """By which groups keep the order of their rows: an index is filled at its end."""
    return int(rows[0])


def _blocks(
    fields: Sequence[Field], rows: NDArray[np.int64] | None, count: int
) -> Iterator[memoryview]:
    """Rows that are alike, a few at a time in one place that stays in the processor's cache."""
    first = 0 if rows is None else int(rows[0])
    record, varied = _record(fields, first)
    size = max(1, min(count, _CHUNK_BYTES // record.itemsize))
    block = np.repeat(record, size)
    columns = [(block[f"v_{source.name}"], source) for source in varied]
    octets = block.view(np.uint8)
    for at in range(0, count, size):
        some = min(size, count - at)
        mine = slice(at, at + some) if rows is None else rows[at : at + some]
        for column, source in columns:
            column[:some] = source.at(mine)
        yield octets[: some * record.itemsize].data


def _record(fields: Sequence[Field], row: int) -> tuple[NDArray[Any], list[Field]]:
    """A row like this one, without its values; and the fields that have values to be set."""
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    lengths: dict[str, int] = {"fields": len(fields)}
    varied: list[Field] = []
    for column in fields:
        layout.append((f"n_{column.name}", ">i4"))
        if column.known is not None and not column.known[row]:
            lengths[f"n_{column.name}"] = _NULL
            continue
        dtype = column.dtype if column.lengths is None else f"V{int(column.lengths[row])}"
        size = lengths[f"n_{column.name}"] = np.dtype(dtype).itemsize if dtype != "V0" else 0
        if size:
            layout.append((f"v_{column.name}", dtype))
            varied.append(column)
    record = np.zeros(1, np.dtype(layout))
    for name, number in lengths.items():
        record[name] = number
    return record, varied
