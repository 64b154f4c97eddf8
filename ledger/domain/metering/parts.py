"""Puts together what was read of several batches, or of lines of several shapes, as columns.

Texts stay numbers of a dictionary until they are one frame's: a dictionary is short, rows are many.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ledger.domain.arrays import Bools, Ints, Texts
from ledger.domain.metering.flat import Known, Value, flat_frame
from ledger.domain.metering.kept import NAMING_PATHS
from ledger.domain.metering.numbering import first_rows, numbered
from ledger.wire.schema import Path


@dataclass(frozen=True, slots=True)
class Part:
    """Events of one type with the same fields: their rows, values by path, and constants.

    `unknown` names the attributes nobody reads and says which rows have them; None is all.
    """

    kind: str
    rows: Ints
    known: Mapping[Path, Known]
    constants: Mapping[Path, object]
    unknown: Mapping[str, Bools | None] = field(default_factory=dict)

    def only(self, kept: Bools) -> "Part":
        """The part of these rows."""
        if kept.all():
            return self
        known = {
            path: (_some(value, kept), None if valid is None else valid[kept])
            for path, (value, valid) in self.known.items()
        }
        unknown = {
            name: None if there is None else there[kept] for name, there in self.unknown.items()
        }
        return Part(self.kind, self.rows[kept], known, self.constants, unknown)


def _some(value: Value, rows: Bools) -> Value:
    return Texts(value.codes[rows], value.values) if isinstance(value, Texts) else value[rows]


def frames_of(parts: Sequence[Part]) -> list[tuple[str, pl.DataFrame]]:
    """A frame for each type of event, its rows in order."""
    kinds = dict.fromkeys(part.kind for part in parts)
    return [(kind, _frame([part for part in parts if part.kind == kind])) for kind in kinds]


def _frame(parts: Sequence[Part]) -> pl.DataFrame:
    part = parts[0] if len(parts) == 1 else _joined(parts)
    frame = flat_frame(part.kind, part.rows, part.known, part.constants)
    return frame if (np.diff(part.rows) > 0).all() else frame.sort("row")


def _joined(parts: Sequence[Part]) -> Part:
    known: dict[Path, Known] = {}
    constants: dict[Path, object] = {}
    for path in dict.fromkeys(path for part in parts for path in (*part.known, *part.constants)):
        values = [part.constants.get(path) for part in parts]
        if all(each == values[0] for each in values) and not any(
            path in each.known for each in parts
        ):
            constants[path] = values[0]
            continue
        columns = [part.known.get(path) or _spread(part, path) for part in parts]
        known[path] = (_values(path, columns), _valid(columns))
    rows = np.concatenate([part.rows for part in parts])
    return Part(parts[0].kind, rows, known, constants)


def _spread(part: Part, path: Path) -> Known:
    """A constant of a part, or a field that it lacks, as a column."""
    value, size = part.constants.get(path), part.rows.size
    if isinstance(value, str):
        return Texts(np.zeros(size, np.uint8), pl.Series([value])), None
    none = np.zeros(size, np.bool_) if value is None else None
    return np.full(size, value or 0, np.int64), none


def _valid(columns: Sequence[Known]) -> Bools | None:
    if all(valid is None for _, valid in columns):
        return None
    return np.concatenate(
        [np.ones(_size(value), np.bool_) if valid is None else valid for value, valid in columns]
    )


def _size(value: Value) -> int:
    return int((value.codes if isinstance(value, Texts) else value).size)


def _values(path: Path, columns: Sequence[Known]) -> Value:
    numbers = [value for value, _ in columns if not isinstance(value, Texts)]
    if len(numbers) == len(columns):
        return np.concatenate(numbers)
    # Numbers stand here where a part lacks the field: which text they name does not matter.
    texts = [
        value if isinstance(value, Texts) else Texts(value.astype(np.uint8), pl.Series([""]))
        for value, _ in columns
    ]
    return _shared(texts) if path in NAMING_PATHS else _one_after_another(texts)


def _shared(columns: Sequence[Texts]) -> Texts:
    """Texts by one dictionary, in which each stands once."""
    together = _one_after_another(columns)
    numbers, count = numbered(together.values.alias("text").to_frame())
    values = together.values[pl.Series(first_rows(numbers, count).astype(np.uint32))]
    return Texts(numbers[together.codes].astype(np.uint32), values)


def _one_after_another(columns: Sequence[Texts]) -> Texts:
    """Texts by a dictionary in which some may stand twice: ids have nothing in common."""
    sizes = np.cumsum([0] + [len(texts.values) for texts in columns])
    codes = [
        texts.codes.astype(np.uint32) + np.uint32(size)
        for texts, size in zip(columns, sizes[:-1].tolist(), strict=True)
    ]
    return Texts(np.concatenate(codes), pl.concat([texts.values for texts in columns]))
