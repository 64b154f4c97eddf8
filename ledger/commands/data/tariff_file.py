"""Rows of a file into prices of a tariff or factors of a grid, whatever its columns and zone."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from ledger.commands.data.rows import InputRow
from ledger.domain.errors import InvalidInputError
from ledger.domain.repeated_time import WAY_OUT, LocalTime, Repeated, tell_apart
from ledger.wire.errors import Rfc3339Error, shorten
from ledger.wire.grid_inputs import GridPeriod
from ledger.wire.inputs import read_input
from ledger.wire.rfc3339 import format_rfc3339, possible_instants, with_seconds
from ledger.wire.tariff_inputs import SeriesPeriod, TariffPeriod

_COMMA = re.compile(r"[+-]?\d+(,\d+)?")
_UNIT = re.compile(r"(?i)(?:^|[^a-z])([km])wh(?![a-z])")
_HUNDREDTH = re.compile(r"(?i)(?:^|[^a-z])(ct|cents?|øre|öre|pence)(?![a-z])")
_OFFSET = re.compile(r"(?:[Zz]|[+-]\d{2}:\d{2})$")
_NAMES_UTC = re.compile(r"(?i)utc|gmt")
HOLES_SHOWN = 3
# Half of all prices of a MWh below it are, in any currency, prices of a kWh.
PER_MWH_LEAST = 1


@dataclass(frozen=True, slots=True)
class TariffColumns:
    """Where a file keeps times and prices, and what they mean; times are starts of periods.

    `fold` says which pass (0 or 1) a repeated local time is that the file has once; `noun` is what
    a row says: a price, or a factor of the grid; `zone_said`, whether somebody named the zone.
    """

    time: str
    price: str
    end: str | None
    resolution_minutes: int
    per_kwh: bool
    decimal_comma: bool
    zone: ZoneInfo
    fold: int | None = None
    noun: str = "price"
    zone_said: bool = True

    @property
    def named(self) -> list[str]:
        """The columns that a file must have."""
        return [name for name in (self.time, self.end, self.price) if name is not None]

    @property
    def value(self) -> tuple[type[SeriesPeriod], str]:
        """What a row becomes, and its field that holds what it says."""
        if self.noun == "factor":
            return GridPeriod, "per_kwh"
        return TariffPeriod, "price_per_kwh" if self.per_kwh else "price_per_mwh"


@dataclass(frozen=True, slots=True)
class PriceSeries:
    """The prices of a file in its order, and what a reader should know: repeated hours, holes, and
    whether times were read as UTC though nobody said so."""

    periods: tuple[SeriesPeriod, ...]
    repeated: tuple[Repeated, ...]
    holes: tuple[tuple[datetime, datetime], ...]
    noun: str = "price"
    taken_as_utc: bool = False

    def notes(self) -> list[str]:
        """What to say of the file, a line each."""
        said = [str(stretch) for stretch in self.repeated]
        if self.taken_as_utc:
            said.append(
                "Times without an offset were read as UTC: where they are local, enter them again"
                " with --zone and --replace."
            )
        if self.holes:
            shown = ", ".join(f"{_short(a)} to {_short(b)}" for a, b in self.holes[:HOLES_SHOWN])
            more = len(self.holes) - HOLES_SHOWN
            said.append(
                f"Between its first and last {self.noun} the file has none from {shown}"
                f"{f' and {more:,} more times' if more > 0 else ''}."
            )
        prices = sorted(abs(p.per_mwh) for p in self.periods if isinstance(p, TariffPeriod))
        if prices and 0 < prices[len(prices) // 2] < PER_MWH_LEAST:
            said.append(
                f"Half of the prices are below {PER_MWH_LEAST} for a MWh: where they are for a kWh,"
                " enter them again with --unit kWh --replace."
            )
        return said


def price_series(rows: Sequence[InputRow], columns: TariffColumns) -> PriceSeries:
    """The prices of the rows; InvalidInputError names lines, and what to do.

    A repeated local hour is told apart by the order of the rows around it.
    """
    _check_unit(columns)
    times = [_local_time(row, columns.time, columns.zone) for row in rows]
    instants, repeated = tell_apart(times, lone_fold=columns.fold)
    again = {time.line: _again(time) for each in repeated for time in each.first}
    periods = [
        _period(row, start, columns, again.get(row.line, timedelta()))
        for row, start in zip(rows, instants, strict=True)
    ]
    in_order = sorted(zip(periods, rows, strict=True), key=lambda pair: pair[0].start)
    if columns.end is None:
        _check_resolution(in_order, columns)
    return PriceSeries(
        tuple(periods),
        tuple(repeated),
        tuple(_holes(period for period, _ in in_order)),
        columns.noun,
        taken_as_utc=_is_zone_guessed(times, columns),
    )


def _is_zone_guessed(times: Iterable[LocalTime], columns: TariffColumns) -> bool:
    """Whether times are read in a zone that neither they, their column nor anybody names."""
    if columns.zone_said or _NAMES_UTC.search(columns.time):
        return False
    return not all(_OFFSET.search(time.text) for time in times)


def _check_unit(columns: TariffColumns) -> None:
    """Refuse a column of prices whose name says another unit than they are read in."""
    hundredth = _HUNDREDTH.search(columns.price)
    if columns.noun == "price" and hundredth:
        raise InvalidInputError(
            f"The column {columns.price!r} says {hundredth[1]}, and prices are read as whole units"
            " of the currency.",
            "Divide them by 100 in a column of its own.",
            "price-column",
        )
    said = {f"{letter.lower().replace('m', 'M')}Wh" for letter in _UNIT.findall(columns.price)}
    meant = "kWh" if columns.per_kwh else "MWh"
    if columns.noun == "price" and len(said) == 1 and meant not in said:
        raise InvalidInputError(
            f"The column {columns.price!r} says {said.pop()}, and prices are read as of a {meant}.",
            f"Give --unit {'MWh' if columns.per_kwh else 'kWh'}.",
            "unit",
        )


def _check_resolution(
    in_order: Sequence[tuple[SeriesPeriod, InputRow]], columns: TariffColumns
) -> None:
    """Refuse rows that come at other steps than a price lasts."""
    minutes, noun = columns.resolution_minutes, columns.noun
    lasts = timedelta(minutes=minutes)
    before = lasts
    for (price, row), (next_price, next_row) in pairwise(in_order):
        step = next_price.start - price.start
        if step < lasts or (step > lasts and step == before):
            raise InvalidInputError(
                f"Lines {row.line} and {next_row.line} are {step // timedelta(minutes=1)} minutes"
                f" apart, and a {noun} lasts {minutes}.",
                f"Give --resolution, or --end-column where {noun}s last unlike; choose rows with"
                " --where where a file holds several series.",
            )
        before = step


def _holes(in_order: Iterable[SeriesPeriod]) -> Iterable[tuple[datetime, datetime]]:
    for price, next_price in pairwise(in_order):
        if price.until < next_price.start:
            yield price.until, next_price.start


def _local_time(row: InputRow, column: str, zone: ZoneInfo) -> LocalTime:
    if column not in row.cells:
        raise InvalidInputError(f"Line {row.line} has no {column!r}.", "Mend the row.")
    text = str(row.cells[column])
    return LocalTime(row.line, text, _instants(row, text, zone))


def _instants(row: InputRow, text: str, zone: ZoneInfo) -> tuple[datetime, ...]:
    try:
        return possible_instants(with_seconds(text), zone=zone)
    except Rfc3339Error as error:
        raise InvalidInputError(
            f"Line {row.line}: {error}.", f"Mend the row, look at --zone, or: {WAY_OUT}."
        ) from error


def _again(time: LocalTime) -> timedelta:
    """How much later a local time was there again."""
    return time.instants[1] - time.instants[0]


def _period(
    row: InputRow, start: datetime, columns: TariffColumns, again: timedelta
) -> SeriesPeriod:
    try:
        raw: dict[str, Any] = {"start": format_rfc3339(start)}
        if columns.end is not None:
            end = _end(row, str(row.cells[columns.end]), columns.zone, start=start, again=again)
            raw["end"] = format_rfc3339(end)
        else:
            raw["resolution_minutes"] = columns.resolution_minutes
        model, field = columns.value
        raw[field] = _decimal(row.cells[columns.price], columns)
        return read_input(model, raw)
    except KeyError as error:
        raise InvalidInputError(f"Line {row.line} has no {error}.", "Mend the row.") from error
    except ValueError as error:
        raise InvalidInputError(f"Line {row.line}: {error}.", "Mend the row.") from error


def _end(
    row: InputRow, text: str, zone: ZoneInfo, *, start: datetime, again: timedelta
) -> datetime:
    """The first instant after the start that the text can be: an end is read from its start on.

    A row of the first pass of an hour that the file has twice ends where the second begins, though
    the clocks showed its end only once, after both: `again` is how much later.
    """
    instants = _instants(row, text, zone)
    if again and len(instants) == 1:
        instants = (instants[0] - again, *instants)
    return next((instant for instant in instants if instant > start), instants[-1])


def _decimal(text: object, columns: TariffColumns) -> str:
    if not columns.decimal_comma:
        return str(text)
    if not _COMMA.fullmatch(str(text)):
        raise ValueError(f"{columns.noun} {shorten(text)} is not a number with a decimal comma")
    return str(text).replace(",", ".")


def _short(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%MZ}"
