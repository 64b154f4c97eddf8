"""`tokenledger suspense`: usage of customers nobody knows, and releasing it."""

from typing import Any

import click

from ledger import clock
from ledger.commands.database import Database, author_of, database_options
from ledger.commands.show import json_option, print_json, print_table
from ledger.flows.release import release_suspense
from ledger.store import operations


@click.group()
def suspense() -> None:
    """Usage of customers nobody knows; it is kept, carries its cost, and waits."""


@suspense.command("list")
@json_option
@database_options
def list_suspense(database: Database, as_json: bool) -> None:
    """List the unknown names with what waits under each."""
    listed: list[dict[str, Any]] = [dict(row) for row in database.run(operations.list_suspense)]
    if as_json:
        print_json(listed)
        return
    columns = ("customer named", "first window", "last window", "requests", "input", "output")
    print_table("Suspense", columns, [tuple(row.values()) for row in listed], numbers=3)


@suspense.command()
@click.argument("customer_ref")
@click.option("--reason", default="released on the command line", help="Kept with it.")
@json_option
@database_options
def release(database: Database, customer_ref: str, reason: str, as_json: bool) -> None:
    """Give what waits under a name to its customer, which must be entered by now."""
    done = database.run(
        lambda c: release_suspense(c, customer_ref, author=author_of(reason), now=clock.now())
    )
    if as_json:
        print_json(done)
    else:
        click.echo(f"Released: {done}")
