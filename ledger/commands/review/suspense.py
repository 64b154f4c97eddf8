"""`tokenledger suspense`: usage of customers nobody knows, and releasing it."""

from dataclasses import astuple

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_items, print_json, print_table, say
from ledger.commands.groups import group
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.release import dismiss_suspense, release_by_hand
from ledger.store import operations
from ledger.store.connect import sum_windows
from ledger.store.queries import Connection


@group()
def suspense() -> None:
    """Usage of customers nobody knows; it is kept, carries its cost, and waits."""


@suspense.command("list")
@json_option
@database_options
def list_suspense(database: Database, as_json: bool) -> None:
    """List the unknown names with what waits under each."""

    async def read(connection: Connection) -> list[operations.Suspended]:
        await sum_windows(connection)
        return await operations.list_suspense(connection)

    listed = database.run(read)
    if as_json:
        print_items(listed)
        return
    columns = ("customer named", "first window", "last window", "requests", "input", "output")
    rows = [(_shown(each.customer_ref), *astuple(each)[1:]) for each in listed]
    print_table("Suspense", columns, rows, numbers=3)


def _shown(name: str) -> str:
    """A name in quotes where blanks at its ends are all that it has beside a known one.

    >>> [_shown("shop"), _shown("shop ")]
    ['shop', "'shop '"]
    """
    return name if name == name.strip() else repr(name)


@suspense.command()
@click.argument("customer_ref", required=False)
@click.option("--nameless", is_flag=True, help="What came without any name.")
@click.option("--reason", required=True, help="Why nobody will ever own it; kept with who says so.")
@database_options
def dismiss(database: Database, customer_ref: str | None, nameless: bool, reason: str) -> None:
    """Take what waits under a name out of status and alarms; it stays in suspense, at its cost.

    What comes under the name later waits again.
    """
    if (customer_ref is not None) == nameless:
        raise click.UsageError("name what waits, or give --nameless")
    author = author_of(reason)
    waited = database.run(
        lambda c: dismiss_suspense(c, customer_ref or "", author, now=clock.now())
    )
    say(f"{waited.requests:,} requests dismissed.")


@suspense.command()
@click.argument("customer_ref", required=False)
@click.option("--reason", default="released on the command line", help="Kept with it.")
@json_option
@database_options
def release(database: Database, customer_ref: str | None, reason: str, as_json: bool) -> None:
    """Give what waits under a name, or under every known one, to its customer.

    The customer, or an alias of it, must be entered by now.
    """
    author = author_of(reason)

    async def work(connection: Connection) -> int:
        return await release_by_hand(
            connection, customer_ref, directory=DirectoryCache(), now=clock.now(), author=author
        )

    facts = database.run(work)
    if as_json:
        print_json({"released": facts})
    elif facts:
        say(f"{facts:,} facts released; the next settling bills them.")
    else:
        say("Nothing was released: nothing waits there, or nobody knows the name yet.")
