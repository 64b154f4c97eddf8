"""The options of a command that reads a series of times and values from a file."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import click

from ledger.commands.data.imports import select_rows
from ledger.commands.data.rows import check_columns
from ledger.commands.data.tariff_file import PriceSeries, TariffColumns, price_series

F = TypeVar("F", bound=Callable[..., Any])


def column_options(noun: str) -> Callable[[F], F]:
    """Where a file keeps times, and how its numbers are written."""
    options = (
        click.option("--time-column", required=True, help=f"When a {noun} begins."),
        click.option("--end-column", help="When it ends; else --resolution says."),
        click.option(
            "--resolution",
            type=click.IntRange(1, 60 * 24 * 366),
            default=60,
            show_default=True,
            help=f"Minutes a {noun} lasts.",
        ),
        click.option("--zone", help="Of times without an offset.  [default: UTC]"),
        click.option(
            "--fold",
            type=click.Choice(["first", "second"]),
            help="Which one a local time is that exists twice and stands once in the file.",
        ),
        click.option(
            "--decimal-comma", is_flag=True, help=f"{noun.title()}s are written like 12,34."
        ),
    )

    def decorated(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def read_series(
    file: Path, given: Mapping[str, object], *, noun: str, delimiter: str, where: Sequence[str]
) -> tuple[PriceSeries, int]:
    """What a file says of these columns, and in how many rows; InvalidInputError names lines."""
    shape = _columns(given, noun=noun)
    rows = select_rows(file, delimiter=delimiter, where=where)
    check_columns(file, list(rows[0].cells), shape.named)
    return price_series(rows, shape), len(rows)


def _columns(given: Mapping[str, object], *, noun: str) -> TariffColumns:
    """What these options say; click.BadParameter where a zone is none."""
    zone = str(given["zone"] or "UTC")
    try:
        known = ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise click.BadParameter(f"{zone!r} is no time zone", param_hint="--zone") from None
    return TariffColumns(
        time=str(given["time_column"]),
        price=str(given["value_column"]),
        end=str(given["end_column"]) if given["end_column"] else None,
        resolution_minutes=int(str(given["resolution"])),
        per_kwh=given.get("unit") == "kWh",
        decimal_comma=bool(given["decimal_comma"]),
        zone=known,
        zone_said=given["zone"] is not None,
        fold={"first": 0, "second": 1}.get(str(given["fold"])),
        noun=noun,
    )
