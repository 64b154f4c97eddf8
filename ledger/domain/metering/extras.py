"""Extras of attempts: read off events as one text each, and turned into rows of counts.

Most attempts have none, and then nothing is made. Invariant: a part never counts more than the leaf
that it is a part of; where fields contradict that, the first of the table are served first.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

import numpy as np
import polars as pl

from ledger.domain.arrays import Bools, Ints, Texts
from ledger.wire.extras import EXTRAS, GROUPS, NAMES
from ledger.wire.schema import Path

# The column of a frame of attempts that says them.
EXTRAS_SAID = "extras"
COUNTED = pl.Schema({"ordinal": pl.Int32(), "meter": pl.String(), "quantity": pl.Int64()})
# The leaf whose tokens a meter counts.
LEAF_OF: Mapping[str, str] = {
    "input_uncached": "uncached",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write",
    "output_visible": "visible",
}
_USAGE = ("data", "usage")
# Where a mapping of counts stands as a whole.
GROUP_PATHS: Sequence[Path] = tuple((*_USAGE, group) for group in GROUPS)
# Fields that are columns of their own already, by their meter.
_LEAVES = {
    name: field.replace("input.", "in_").replace("output.", "out_")
    for name, extra in EXTRAS.items()
    for field in extra.said
    if field.partition(".")[0] not in GROUPS
}
_OTHERS = {name: extra for name, extra in EXTRAS.items() if name not in _LEAVES}
Said = Mapping[str, int | None]
Known = tuple[Ints | Texts, Bools | None]


def said_text(modality: Said | None, other: Said | None) -> str | None:
    """What an attempt says of extras, the same text wherever it says the same."""
    if not modality and not other:
        return None
    return _text({**_of_group("modality", modality or {}), **_of_group("other", other or {})})


def _of_group(group: str, said: Said) -> dict[str, int]:
    names = NAMES[group]
    return {f"{group}.{name}": count for name, count in said.items() if count and name in names}


def _text(counts: Mapping[str, int]) -> str | None:
    return ";".join(f"{name}={counts[name]}" for name in sorted(counts)) or None


def said_column(
    rows: int, known: Mapping[Path, Known], constants: Mapping[Path, object]
) -> pl.Series:
    """The same of attempts whose fields are columns by path, or constants."""
    columns = list(_said(rows, known, constants))
    if not columns:
        return pl.Series(EXTRAS_SAID, [None], pl.String).new_from_index(0, rows)
    names = [name for name, _ in columns]
    counts = np.column_stack([values for _, values in columns])
    there = np.flatnonzero(counts.any(axis=1))
    texts: list[str | None] = [None] * rows
    for row, numbers in zip(there.tolist(), counts[there].tolist(), strict=True):
        said = dict.fromkeys(names, 0)
        for name, number in zip(names, numbers, strict=True):
            said[name] += number
        texts[row] = _text({name: number for name, number in said.items() if number})
    return pl.Series(EXTRAS_SAID, texts, pl.String)


def _said(
    rows: int, known: Mapping[Path, Known], constants: Mapping[Path, object]
) -> Iterator[tuple[str, Ints]]:
    """Each field that says extras, and its counts, 0 where there are none."""
    for path in _fields(known):
        values, valid = known[path]
        if isinstance(values, Texts):
            yield from _of_texts(path[-1], values, valid)
        else:
            yield ".".join(path[2:]), values if valid is None else np.where(valid, values, 0)
    for path in _fields(constants):
        value = constants[path]
        counts = {path[-1]: value} if isinstance(value, int) else _of_json(path[-1], value)
        group = path[2]
        for name, count in counts.items():
            if isinstance(count, int):
                yield f"{group}.{name}", np.full(rows, count, np.int64)


def _fields(paths: Mapping[Path, object]) -> list[Path]:
    return [path for path in _paths() if path in paths]


@cache
def _paths() -> Sequence[Path]:
    """Where columns may say extras: a group as JSON, or a name of it by itself."""
    return (
        *GROUP_PATHS,
        *((*_USAGE, group, name) for group in GROUPS for name in sorted(NAMES[group])),
    )


def _of_texts(group: str, texts: Texts, valid: Bools | None) -> Iterator[tuple[str, Ints]]:
    each = [_of_json(group, text) for text in texts.values]
    for name in sorted({name for counts in each for name in counts}):
        numbers = np.array([counts.get(name, 0) for counts in each], np.int64)[texts.codes]
        yield f"{group}.{name}", numbers if valid is None else np.where(valid, numbers, 0)


def _of_json(group: str, text: object) -> dict[str, int]:
    said = json.loads(text) if isinstance(text, str) and text else {}
    # A value that is no such mapping belongs to rows that are left to the strict decoder.
    counts = said.items() if isinstance(said, dict) else ()
    names = NAMES[group]
    return {n: count for n, count in counts if n in names and _is_count(count)}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 < value < 2**63


def extra_counts(usage: pl.DataFrame) -> pl.DataFrame | None:
    """Rows of COUNTED of attempts that have extras, or None where none has."""
    parts = [_of_leaf(usage, meter, column) for meter, column in _LEAVES.items()]
    said = usage[EXTRAS_SAID]
    if said.null_count() < len(said):
        parts.append(_of_said(usage))
    return joined(parts)


def joined(parts: Iterable[pl.DataFrame | None]) -> pl.DataFrame | None:
    """The rows of COUNTED of all parts, or None where there are none."""
    there = [part for part in parts if part is not None and part.height]
    return pl.concat(there) if there else None


def renumbered(
    counted: pl.DataFrame | None, ordinals: pl.Series, *, first: int
) -> pl.DataFrame | None:
    """Those of some ordinals, under numbers from `first` on in their order."""
    if counted is None:
        return None
    numbers = pl.int_range(first, first + len(ordinals), dtype=pl.Int32, eager=True)
    anew = pl.DataFrame([ordinals.cast(pl.Int32).alias("ordinal"), numbers.alias("anew")])
    numbered = counted.join(anew, on="ordinal")
    return numbered.select(pl.col("anew").alias("ordinal"), "meter", "quantity")


def _of_leaf(usage: pl.DataFrame, meter: str, column: str) -> pl.DataFrame | None:
    counts = usage[column]
    if counts.null_count() == len(counts):
        return None
    there = usage.filter(pl.col(column) > 0).select(
        "ordinal", pl.lit(meter).alias("meter"), pl.col(column).alias("quantity")
    )
    return pl.DataFrame(there, COUNTED) if there.height else None


def _of_said(usage: pl.DataFrame) -> pl.DataFrame:
    """Each distinct text is read once; what a part may count, column by column."""
    named = usage.filter(pl.col(EXTRAS_SAID).is_not_null())
    counts = _counts_of(named[EXTRAS_SAID])
    left = {meter: _whole(named[leaf]) for meter, leaf in LEAF_OF.items()}
    for name, column in _LEAVES.items():
        left[EXTRAS[name].of or ""] = left[EXTRAS[name].of or ""] - _whole(named[column])
    counted = []
    nothing: Ints = np.zeros(named.height, np.int64)
    for meter, extra in _OTHERS.items():
        quantity = sum(
            (counts[field] * units for field, units in extra.said.items() if field in counts),
            nothing,
        )
        if extra.of is not None:
            # A part is at most what others leave of its leaf.
            quantity = quantity - counts.get(extra.less or "", nothing)
            quantity = np.maximum(0, np.minimum(quantity, left[extra.of]))
            left[extra.of] = left[extra.of] - quantity
        there = np.flatnonzero(quantity)
        if there.size:
            rows = {"ordinal": named["ordinal"][there], "meter": meter, "quantity": quantity[there]}
            counted.append(pl.DataFrame(rows, COUNTED))
    return pl.concat(counted) if counted else pl.DataFrame(schema=COUNTED)


def _counts_of(texts: pl.Series) -> dict[str, Ints]:
    """The count of each field that any text says, of each text."""
    codes = texts.rank("dense").to_numpy().astype(np.int64) - 1
    each = [_read(text) for text in texts.unique().sort()]
    fields = {field for said in each for field in said}
    return {
        field: np.array([said.get(field, 0) for said in each], np.int64)[codes] for field in fields
    }


def _read(text: str) -> dict[str, int]:
    pairs = (each.rpartition("=") for each in text.split(";"))
    return {name: int(number) for name, _, number in pairs}


def _whole(counts: pl.Series) -> Ints:
    return counts.fill_null(0).cast(pl.Int64).to_numpy()
