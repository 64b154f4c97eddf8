"""`tokenledger import urdb`: a tariff of OpenEI's utility rate database, energy to fixed charge."""

from datetime import date, datetime
from pathlib import Path

import click

from ledger.commands.data.imports import report
from ledger.commands.data.preview import preview_option, print_preview
from ledger.commands.data.show import json_option
from ledger.commands.data.urdb_file import UrdbRate, read_urdb
from ledger.commands.options import FILE
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.domain.author import Author
from ledger.domain.errors import MissingInputError, NotFoundError
from ledger.domain.period import midnight
from ledger.flows.reference.enter import enter_tariff, enter_tariff_prices
from ledger.flows.reference.enter_site_cost import enter_site_cost
from ledger.store.cost.cost_inputs import find_facility
from ledger.store.queries import Connection
from ledger.wire.inputs import read_input
from ledger.wire.rfc3339 import format_rfc3339
from ledger.wire.site_inputs import NewSiteCost
from ledger.wire.tariff_inputs import NewTariff, NewTariffPrices

DAY = click.DateTime(["%Y-%m-%d"])


@click.command("urdb")
@click.argument("file", type=FILE)
@click.option("--tariff", "tariff_id", required=True, help="Id of the tariff, made if it is new.")
@click.option("--facility", "facility_id", required=True, help="Its site.")
@click.option("--currency", default="USD", show_default=True, help="What its prices are in.")
@click.option("--since", type=DAY, help="First local day; by default the rate's own.")
@click.option("--until", type=DAY, help="The day before which it ends; by default the rate's own.")
@click.option("--replace", is_flag=True, help="Supersede what it overlaps, for that time.")
@click.option("--reason", help="Kept with what is entered; by default the file's name.")
@preview_option
@json_option
@database_options
def urdb(
    database: Database,
    file: Path,
    *,
    tariff_id: str,
    facility_id: str,
    currency: str,
    since: datetime | None,
    until: datetime | None,
    replace: bool,
    reason: str | None,
    preview: bool,
    as_json: bool,
) -> None:
    """Enter a utility rate of OpenEI (URDB): energy by time of use, tiers, demand, fixed charge.

    Hours are local hours of the site; Saturday and Sunday are the weekend, and no day is a holiday.
    What is charged by the month holds for whole months.
    """
    rate = read_urdb(file)
    days = _days(rate, since, until)
    contract = {"tariff_id": tariff_id, "facility_id": facility_id, "currency": currency}
    author = author_of(reason, f"import of {file.name}")

    async def enter(connection: Connection, author: Author) -> dict[str, int]:
        return await _enter(connection, rate, contract, days, author=author, replace=replace)

    if preview:
        print_preview(database, enter, author, as_json=as_json)
        return
    entered = database.run(lambda connection: enter(connection, author))
    report("urdb", rows=1, entered=entered, as_json=as_json)


def _days(rate: UrdbRate, since: datetime | None, until: datetime | None) -> tuple[date, date]:
    first = since.date() if since else rate.first_day
    end = until.date() if until else rate.end_day
    if first is None or end is None:
        raise MissingInputError(
            "The rate does not say from when to when it holds.", "Give --since and --until."
        )
    return first, end


async def _enter(
    connection: Connection,
    rate: UrdbRate,
    contract: dict[str, str],
    days: tuple[date, date],
    *,
    author: Author,
    replace: bool,
) -> dict[str, int]:
    async with connection.transaction():
        facility = await find_facility(connection, contract["facility_id"])
        if facility is None:
            raise NotFoundError(
                f"There is no facility {contract['facility_id']}.", "Enter it first."
            )
        new = read_input(NewTariff, {**contract, "name": contract["tariff_id"]})
        await enter_tariff(connection, new, author)
        by_hour = {"tariff_id": new.tariff_id, "time_of_use": rate.time_of_use(*days)}
        prices = read_input(NewTariffPrices, by_hour)
        written = await enter_tariff_prices(connection, prices, author, replace=replace)
        valid = _months_around(days, facility.zone)
        at_site = {"facility_id": facility.facility_id, "currency": new.currency, **valid}
        costs = [
            read_input(NewSiteCost, {**at_site, "name": name, **terms})
            for name, terms in rate.site_costs()
        ]
        for cost in costs:
            await enter_site_cost(connection, cost, author, replace=replace)
    return {"price": written, "site cost": len(costs)}


def _months_around(days: tuple[date, date], zone_name: str) -> dict[str, str]:
    """From the first of the month of the first day to the first on or after the end."""
    first, end = days
    whole = end if end.day == 1 else date(end.year + end.month // 12, end.month % 12 + 1, 1)
    edges = {"valid_from": first.replace(day=1), "valid_to": whole}
    return {name: format_rfc3339(midnight(day, zone_name)) for name, day in edges.items()}
