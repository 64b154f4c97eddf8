"""`tokenledger import fx`: exchange rates by day, one pair a row or a column for each currency."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from ledger.commands.data.imports import pairs, read_models, report, select_rows
from ledger.commands.data.preview import preview_option, print_preview
from ledger.commands.data.rows import InputRow, check_columns
from ledger.commands.data.show import json_option
from ledger.commands.options import row_options
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.domain.author import Author
from ledger.domain.money import MINOR_DIGITS
from ledger.flows.reference.fx_jumps import enter_and_compare
from ledger.store.cost.cost_inputs import RateBefore
from ledger.store.queries import Connection
from ledger.wire.inputs import FxRate, NewFxRates, read_input

# What publishers write where a currency was not quoted that day, in small letters.
NOT_QUOTED = frozenset({"n/a", "na", "nd", "nan", "null", "-", ".", ""})
JUMPS_SHOWN = 3
KNOWN = frozenset(MINOR_DIGITS)


@click.command("fx")
@row_options
@click.option("--quotes", help="Columns named by their currency hold its rate, like USD,JPY,GBP.")
@click.option("--replace", is_flag=True, help="Supersede other rates of the same days.")
@preview_option
@json_option
@database_options
def fx(
    database: Database,
    file: Path,
    *,
    mapped: Sequence[str],
    fixed: Sequence[str],
    quotes: str | None,
    where: Sequence[str],
    delimiter: str,
    replace: bool,
    preview: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Enter exchange rates: one base costs rate quote on a day, says a source.

    A cell that says N/A, NaN, a dash or nothing is skipped and counted. A report takes the last
    rate published on or before the day of the usage.
    """
    rows = select_rows(file, delimiter=delimiter, where=where)
    read = len(rows)
    columns = pairs(mapped, "--map")
    currencies = [name.strip() for name in (quotes or "").split(",") if name.strip()]
    check_columns(file, list(rows[0].cells), [*columns.values(), *currencies])
    if currencies:
        rows = _one_pair_a_row(rows, columns, currencies)
        columns = {}
    rate_column = columns.get("rate", "rate")
    quoted = [row for row in rows if _is_quoted(row.cells.get(rate_column, "missing"))]
    models = read_models(file, quoted, FxRate, mapped=columns, fixed=pairs(fixed, "--set"))
    author = author_of(reason, f"import of {file.name}")
    rates = tuple(rate for _, rate in models if isinstance(rate, FxRate))

    async def enter(connection: Connection, author: Author) -> tuple[int, list[RateBefore]]:
        if not rates:
            return 0, []
        new = read_input(NewFxRates, {"rates": rates})
        return await enter_and_compare(connection, new, author, replace=replace)

    if preview:
        print_preview(database, enter, author, as_json=as_json)
        return
    written, jumps = database.run(lambda connection: enter(connection, author))
    for jump in jumps[:JUMPS_SHOWN]:
        click.echo(_told(jump), err=True)
    if len(jumps) > JUMPS_SHOWN:
        click.echo(f"And {len(jumps) - JUMPS_SHOWN:,} more rates.", err=True)
    unknown = sorted({code for rate in rates for code in (rate.base, rate.quote)} - KNOWN)
    if unknown:
        click.echo(
            f"No currency of today's ISO 4217: {', '.join(unknown)}. Where one is misspelt, its"
            " rate will be missed: enter it again.",
            err=True,
        )
    skipped = len(rows) - len(quoted)
    entered = {"FX rate": written}
    report("fx", rows=read, entered=entered, as_json=as_json, skipped=skipped)


def _told(jump: RateBefore) -> str:
    pair = (jump.quote, jump.base) if jump.turned else (jump.base, jump.quote)
    return (
        f"{jump.base}/{jump.quote} of {jump.day} is {jump.rate:f}, and {'/'.join(pair)} of"
        f" {jump.before_day} is {jump.before_rate:f}: where one of them is the wrong way round or"
        " in another unit, enter it again with --replace."
    )


def _is_quoted(cell: object) -> bool:
    return cell is not None and str(cell).casefold() not in NOT_QUOTED


def _one_pair_a_row(
    rows: Sequence[InputRow], columns: Mapping[str, str], currencies: Sequence[str]
) -> list[InputRow]:
    return [
        InputRow(
            row.line,
            {
                **{field: row.cells.get(column) for field, column in columns.items()},
                "quote": currency,
                "rate": row.cells.get(currency),
            },
            row.texts,
        )
        for row in rows
        for currency in currencies
    ]
