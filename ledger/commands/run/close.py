"""`tokenledger close`: months of an entity that close, and open again."""

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_json
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.flows.books.close_month import ChangedMonth, close_month, reopen_month


@click.group()
def close() -> None:
    """Close months of an entity: what is booked for a closed one never changes.

    What belongs to it and comes later is booked in the next month that is open, and names the day
    it corrects.
    """


@close.command()
@click.argument("entity_id")
@click.option("--month", required=True, help="Which, as 2026-08; months close in order.")
@click.option("--soft", is_flag=True, help="Finance still books in it by hand, with a reason.")
@click.option("--reason", default="month end", help="Kept with it.")
@json_option
@database_options
def entity(
    database: Database, *, entity_id: str, month: str, soft: bool, reason: str, as_json: bool
) -> None:
    """Close a month that is over."""
    done = database.run(
        lambda connection: close_month(
            connection,
            entity_id=entity_id,
            month=month,
            soft=soft,
            now=clock.now(),
            author=author_of(reason),
        )
    )
    _show(done, as_json)


@close.command()
@click.argument("entity_id")
@click.option("--month", required=True, help="The last that closed, as 2026-08.")
@click.option("--reason", required=True, help="Why, kept with it.")
@json_option
@database_options
def reopen(database: Database, *, entity_id: str, month: str, reason: str, as_json: bool) -> None:
    """Open a closed month again."""
    done = database.run(
        lambda connection: reopen_month(
            connection,
            entity_id=entity_id,
            month=month,
            now=clock.now(),
            author=author_of(reason),
        )
    )
    _show(done, as_json)


def _show(done: ChangedMonth, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    sealed = f": {done.lines} lines, seal {done.seal}" if done.seal else ""
    click.echo(f"{done.month} of {done.entity_id} is {done.state.replace('_', ' ')}{sealed}.")
