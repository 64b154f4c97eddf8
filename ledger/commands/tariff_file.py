"""Rows of a price file into the prices of a tariff, in whatever columns, unit and zone it has."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from zoneinfo import ZoneInfo

from ledger.commands.rows import Row
from ledger.domain.errors import InvalidInputError
from ledger.wire.errors import InputError, Rfc3339Error
from ledger.wire.inputs import TariffPeriod, read_input
from ledger.wire.rfc3339 import format_rfc3339, parse_rfc3339

_COMMA = re.compile(r"[+-]?\d+(,\d+)?")
_NO_SECONDS = re.compile(r"(\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2})(?!:)")


@dataclass(frozen=True, slots=True)
class TariffColumns:
    """Where a file keeps times and prices, and what they mean; times are starts of periods."""

    time: str
    price: str
    end: str | None
    resolution_minutes: int
    per_kwh: bool
    decimal_comma: bool
    zone: ZoneInfo


def tariff_periods(rows: Sequence[Row], columns: TariffColumns) -> list[TariffPeriod]:
    """The prices of the rows; a repeated local hour is told apart by the order of the file."""
    folds = _folds(rows, columns.time)
    return [_period(row, columns, fold) for row, fold in zip(rows, folds, strict=True)]


def _folds(rows: Sequence[Row], column: str) -> list[Literal[0, 1]]:
    """Which of two equal local times a row means; a file may run backwards."""
    times = [str(row.cells.get(column, "")) for row in rows]
    backwards = len(times) > 1 and times[0] > times[-1]
    count, seen = Counter(times), Counter[str]()
    folds: list[Literal[0, 1]] = []
    for text in times:
        second = seen[text] == 1
        folds.append(1 if count[text] > 1 and second != backwards else 0)
        seen[text] += 1
    return folds


def _period(row: Row, columns: TariffColumns, fold: Literal[0, 1]) -> TariffPeriod:
    try:
        start = _time(row.cells[columns.time], columns.zone, fold)
        raw: dict[str, Any] = {"start": start}
        if columns.end is not None:
            raw["end"] = _time(row.cells[columns.end], columns.zone, fold)
        else:
            raw["resolution_minutes"] = columns.resolution_minutes
        unit = "price_per_kwh" if columns.per_kwh else "price_per_mwh"
        raw[unit] = _price(row.cells[columns.price], columns.decimal_comma)
        return read_input(TariffPeriod, raw)
    except KeyError as error:
        raise InvalidInputError(f"Line {row.line} has no {error}.", "Mend the row.") from error
    except (InputError, Rfc3339Error, InvalidInputError) as error:
        raise InvalidInputError(f"Line {row.line}: {error}.", "Mend the row.") from error


def _time(text: object, zone: ZoneInfo, fold: Literal[0, 1]) -> str:
    with_seconds = _NO_SECONDS.sub(r"\1:00", str(text), count=1)
    return format_rfc3339(parse_rfc3339(with_seconds, zone=zone, fold=fold))


def _price(text: object, decimal_comma: bool) -> str:
    if not decimal_comma:
        return str(text)
    if not _COMMA.fullmatch(str(text)):
        raise InvalidInputError(f"price {text!r} is not a number with a decimal comma")
    return str(text).replace(",", ".")
