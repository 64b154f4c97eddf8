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

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_EPOCH_DATE = date(2000, 1, 1)
# Microseconds and days from 1970, where ours begin, to 2000, where PostgreSQL's do.
EPOCH_US = 946_684_800_000_000
_CHUNK_BYTES = 1 << 18
_NULL = -1
NUMBER = "batch_seq"


@dataclass(frozen=True, slots=True)
class Field:
    """A column's values in PostgreSQL's byte order; `known` None is no null.

    `lengths` is set for texts alone, whose values are then objects of bytes.
    """

    name: str
    values: NDArray[Any]
    known: NDArray[np.bool_] | None = None
    lengths: NDArray[np.int32] | None = None


def field(name: str, series: pl.Series) -> Field:
    """A column as its table has it: whole numbers by their width, times, a day, text, bytes."""
    known = series.is_not_null().to_numpy() if series.null_count() else None
    dtype = series.dtype
    if series.null_count() == len(series):
        return Field(name, np.zeros(len(series), "V1"), known)
    if dtype in {pl.String, pl.Binary}:
        return _texts(name, series.cast(pl.Binary), known)
    if dtype == pl.Datetime:
        micros = series.cast(pl.Int64).fill_null(EPOCH_US).to_numpy() - EPOCH_US
        return Field(name, micros.astype(">i8"), known)
    if dtype == pl.Date:
        days = series.cast(pl.Int32).to_numpy() - (_EPOCH_DATE - date(1970, 1, 1)).days
        return Field(name, days.astype(">i4"), known)
    filled = series.fill_null(0) if known is not None else series
    return Field(name, filled.to_numpy().astype(_WIDTHS[str(dtype)]), known)


_WIDTHS: Mapping[str, str] = {"Int8": ">i2", "Int16": ">i2", "Int32": ">i4", "Int64": ">i8"}


def _texts(name: str, series: pl.Series, known: NDArray[np.bool_] | None) -> Field:
    values = series.fill_null(b"").to_numpy()
    lengths = series.bin.size().fill_null(0).cast(pl.Int32).to_numpy()
    return Field(name, values, known, lengths)


def bits(name: str, values: NDArray[np.bool_]) -> Field:
    """Rows of bits, the first one leftmost."""
    count, width = values.shape
    packed = np.packbits(values, axis=1)
    record = np.zeros(count, np.dtype([("bits", ">i4"), ("octets", f"V{packed.shape[1]}")]))
    record["bits"] = width
    record["octets"] = np.ascontiguousarray(packed).view(f"V{packed.shape[1]}").reshape(-1)
    return Field(name, record.view(f"V{record.dtype.itemsize}"))


def uuids(name: str, series: pl.Series) -> Field:
    """Sixteen bytes a row, none of them null."""
    return Field(name, np.frombuffer(b"".join(series.to_list()), "V16"))


class Rows:
    """Rows encoded but for `batch_seq`, their number in the stored order, which is drawn last."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self.count = int(fields[0].values.shape[0])
        numbered = [*fields, Field(NUMBER, np.broadcast_to(np.array(0, ">i8"), (self.count,)))]
        self.columns = tuple(one.name for one in numbered)
        self._groups = [_encode(numbered, rows) for rows in _alike(fields, self.count)]

    @classmethod
    def of(cls, frame: pl.DataFrame, columns: Sequence[str]) -> "Rows":
        """The columns of a frame; the number, where it is one of them, comes later."""
        return cls([field(name, frame[name]) for name in columns if name != NUMBER])

    def number(self, batch_seq: int) -> None:
        """Give every row its number."""
        for group in self._groups:
            group[f"v_{NUMBER}"] = batch_seq

    def chunks(self) -> Iterator[bytes]:
        """The stream, in pieces of a size that suits a socket."""
        yield HEADER
        for group in self._groups:
            octets = group.view(np.uint8).data.cast("B")
            for at in range(0, len(octets), _CHUNK_BYTES):
                yield octets[at : at + _CHUNK_BYTES]  # type: ignore[misc]  # asyncpg takes any buffer
        yield TRAILER


def _alike(fields: Sequence[Field], count: int) -> list[NDArray[np.int64] | None]:
    """Groups of rows with the same known fields and lengths; None is all rows."""
    if count == 0:
        return []
    traits = [one.known for one in fields if one.known is not None]
    traits += [one.lengths for one in fields if one.lengths is not None]  # type: ignore[misc]
    varied = [trait for trait in traits if (trait != trait[0]).any()]
    if not varied:
        return [None]
    _, groups = np.unique(np.column_stack(varied), axis=0, return_inverse=True)
    order = np.argsort(groups.reshape(-1), kind="stable")
    edges = np.flatnonzero(np.diff(groups.reshape(-1)[order])) + 1
    return list(np.split(order, edges))


def _encode(fields: Sequence[Field], rows: NDArray[np.int64] | None) -> NDArray[Any]:
    first = 0 if rows is None else int(rows[0])
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    lengths: dict[str, int] = {"fields": len(fields)}
    values: list[Field] = []
    for one in fields:
        layout.append((f"n_{one.name}", ">i4"))
        if one.known is not None and not one.known[first]:
            lengths[f"n_{one.name}"] = _NULL
            continue
        size = one.values.dtype.itemsize if one.lengths is None else int(one.lengths[first])
        lengths[f"n_{one.name}"] = size
        if size:
            dtype = one.values.dtype.str if one.lengths is None else f"V{size}"
            layout.append((f"v_{one.name}", dtype))
            values.append(one)
    count = fields[0].values.shape[0] if rows is None else rows.size
    record = np.zeros(1, np.dtype(layout))
    for name, number in lengths.items():
        record[name] = number
    found = np.repeat(record, count)
    for one in values:
        mine = one.values if rows is None else one.values[rows]
        found[f"v_{one.name}"] = mine if one.lengths is None else _packed(mine)
    return found


def _packed(texts: NDArray[Any]) -> NDArray[Any]:
    """Texts of one length as an array of their bytes."""
    return np.frombuffer(b"".join(texts.tolist()), f"V{len(texts[0])}")
