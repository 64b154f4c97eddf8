"""`tokenledger close`: months of an entity that close, and open again."""

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_json, print_table
from ledger.commands.groups import group
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.flows.books.close_month import ChangedMonth, close_month, read_months, reopen_month


@group()
def close() -> None:
    """Close months of an entity: what is booked for a closed one never changes.

    What belongs to it and comes later is booked in the next month that is open, and names the day
    it corrects. `list closes` has every change.
    """


@close.command()
@click.argument("entity_id")
@click.option("--month", required=True, help="Which, as 2026-08; months close in order.")
@click.option("--soft", is_flag=True, help="Finance still books in it by hand, with a reason.")
@click.option("--accept", multiple=True, help="What may stay undone, by name; give a reason.")
@click.option("--reason", help="Kept with it.")
@json_option
@database_options
def entity(
    database: Database,
    *,
    entity_id: str,
    month: str,
    soft: bool,
    accept: tuple[str, ...],
    reason: str | None,
    as_json: bool,
) -> None:
    """Close a month that is over; `close status` says what is to be done before."""
    done = database.run(
        lambda connection: close_month(
            connection,
            entity_id=entity_id,
            month=month,
            soft=soft,
            accept=accept,
            now=clock.now(),
            author=author_of(reason, "" if accept else "month end"),
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


@close.command()
@click.argument("entity_id")
@json_option
@database_options
def status(database: Database, *, entity_id: str, as_json: bool) -> None:
    """Show what became of months, and what is to be done before the next closes."""
    months = database.run(
        lambda connection: read_months(connection, entity_id=entity_id, now=clock.now())
    )
    if as_json:
        print_json(months)
        return
    changes = [
        (each.month, each.state, each.changed_at, each.actor, each.reason)
        for each in months.changes
    ]
    print_table(f"Months of {entity_id}", ("month", "state", "at", "by", "reason"), changes)
    if months.next is None:
        click.echo("No month is over that could close.")
        return
    matters = [
        (each.name, each.count, "no" if each.must else "yes", each.about, each.to_do)
        for each in months.matters
    ]
    columns = ("matter", "count", "may wait", "about", "to do")
    print_table(f"Before {months.next} closes", columns, matters, first=("matter", "count"))


def _show(done: ChangedMonth, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    sealed = f": {done.lines} lines, seal {done.seal}" if done.seal else ""
    click.echo(f"{done.month} of {done.entity_id} is {done.state.replace('_', ' ')}{sealed}.")
