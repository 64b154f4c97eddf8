"""`tokenledger unpriced`: usage that waits for a price."""

from typing import Any

import click

from ledger.commands.data.show import json_option, print_items, print_table
from ledger.commands.groups import group
from ledger.commands.serve.database import Database, database_options
from ledger.reports.pricing.waiting import list_all_unpriced
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection


@group()
def unpriced() -> None:
    """Usage that waits for a price: counted, listed, never worth zero."""


@unpriced.command("list")
@click.option("--entity", "entity_id", help="Only of this entity.")
@json_option
@database_options
def list_unpriced(database: Database, entity_id: str | None, as_json: bool) -> None:
    """List what has no price, and why."""

    async def read(connection: Connection) -> Any:
        cut_off = await draw_cut_off(connection, "unpriced")
        return await list_all_unpriced(connection, cut_off=cut_off, entity_id=entity_id)

    listed = database.run(read)
    if as_json:
        print_items(listed)
        return
    names = ("customer_id", "model", "tier", "meter", "reason", "first_day", "quantity")
    rows = [tuple(row[name] for name in names) for row in listed]
    print_table("Unpriced", names, rows, numbers=1)
