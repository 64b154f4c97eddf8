"""`tokenledger import tariff`: electricity prices from a file of any columns, unit and zone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from ledger.commands.data.imports import report
from ledger.commands.data.preview import preview_option, print_preview
from ledger.commands.data.series_options import column_options, read_series
from ledger.commands.data.show import json_option
from ledger.commands.data.tariff_file import PriceSeries
from ledger.commands.options import FILE, delimiter_option
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.domain.author import Author
from ledger.domain.errors import InvalidInputError, MissingInputError
from ledger.flows.reference.enter import enter_tariff, enter_tariff_prices
from ledger.flows.reference.price_holes import find_price_holes
from ledger.store.cost.cost_inputs import PriceHole, Tariff, find_tariff
from ledger.store.queries import Connection
from ledger.wire.inputs import read_input
from ledger.wire.tariff_inputs import NewTariff, NewTariffPrices


@click.command("tariff")
@click.argument("file", type=FILE)
@click.option("--tariff", "tariff_id", required=True, help="Id of the tariff, made if it is new.")
@click.option("--facility", "facility_id", help="The site of a new tariff.")
@click.option("--currency", help="The currency of a new tariff, like EUR.")
@click.option("--price-column", "value_column", required=True, help="The price.")
@click.option("--unit", type=click.Choice(["MWh", "kWh"]), default="MWh", show_default=True)
@column_options("price")
@delimiter_option
@click.option("--where", multiple=True, help="COLUMN=VALUE: only these rows.")
@click.option("--replace", is_flag=True, help="Supersede prices of the same times.")
@click.option("--reason", help="Kept with the prices; by default the file's name.")
@preview_option
@json_option
@database_options
def tariff(
    database: Database,
    file: Path,
    *,
    tariff_id: str,
    facility_id: str | None,
    currency: str | None,
    delimiter: str,
    where: Sequence[str],
    replace: bool,
    reason: str | None,
    preview: bool,
    as_json: bool,
    **columns: object,
) -> None:
    """Enter electricity prices of a tariff, in whatever columns, unit and zone a file has them."""
    series, rows = read_series(file, columns, noun="price", delimiter=delimiter, where=where)
    prices = read_input(NewTariffPrices, {"tariff_id": tariff_id, "prices": series.periods})
    contract = {"tariff_id": tariff_id, "facility_id": facility_id, "currency": currency}
    author = author_of(reason, f"import of {file.name}")

    async def enter(connection: Connection, author: Author) -> tuple[int, list[PriceHole]]:
        return await _enter(connection, contract, prices, author=author, replace=replace)

    if preview:
        print_preview(database, enter, author, as_json=as_json)
        return
    written, holes = database.run(lambda connection: enter(connection, author))
    for note in (*series.notes(), *_beside(holes, series)):
        click.echo(note, err=True)
    report("tariff", rows=rows, entered={"price": written}, as_json=as_json)


async def _enter(
    connection: Connection,
    contract: dict[str, str | None],
    prices: NewTariffPrices,
    *,
    author: Author,
    replace: bool,
) -> tuple[int, list[PriceHole]]:
    async with connection.transaction():
        known = await find_tariff(connection, prices.tariff_id)
        if known is None:
            await _enter_contract(connection, contract, author)
        else:
            _check_same(known, contract)
        written = await enter_tariff_prices(connection, prices, author, replace=replace)
        return written, await find_price_holes(connection, prices)


async def _enter_contract(
    connection: Connection, contract: Mapping[str, str | None], author: Author
) -> None:
    if None in contract.values():
        raise MissingInputError(
            f"Tariff {contract['tariff_id']} is new.", "Give --facility and --currency for it."
        )
    new = read_input(NewTariff, {**contract, "name": contract["tariff_id"]})
    await enter_tariff(connection, new, author)


def _check_same(known: Tariff, contract: Mapping[str, str | None]) -> None:
    """Refuse prices said to be of another site or currency than their tariff's."""
    kept = {"facility_id": known.facility_id, "currency": known.currency}
    for name, value in kept.items():
        if contract[name] not in (None, value):
            option = name.removesuffix("_id")
            raise InvalidInputError(
                f"The {option} of tariff {known.tariff_id} is {value}, not {contract[name]}.",
                f"Leave --{option} out, or name another tariff.",
                option,
            )


def _beside(holes: Sequence[PriceHole], series: PriceSeries) -> list[str]:
    """What to say of times without a price that the file alone does not show."""
    return [
        f"No price holds from {hole.since:%FT%RZ} to {hole.until:%FT%RZ}, between these prices and"
        " others of the site."
        for hole in holes
        if tuple(hole) not in series.holes
    ]
