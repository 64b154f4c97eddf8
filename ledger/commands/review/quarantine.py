"""`tokenledger quarantine`: what could not be read, and trying it again."""

from collections.abc import Mapping
from dataclasses import astuple

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_items, print_table
from ledger.commands.groups import group
from ledger.commands.options import ROW_ID, ROWS
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.domain.errors import NotFoundError
from ledger.domain.metering.record import ItemOutcome
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.limits import limits_of
from ledger.flows.metering.replay import dismiss_quarantine, replay_quarantine
from ledger.store import operations
from ledger.store.queries import Connection


@group()
def quarantine() -> None:
    """Events that could not be read, with the reason; their bytes are kept for a while."""


@quarantine.command("list")
@click.option("--rows", type=ROWS, default=100, show_default=True)
@click.option("--before", type=ROW_ID, default=operations.LAST, help="Only ids below this one.")
@click.option("--reason", help="Only of this reason; unstorable are whole records, dead letters.")
@json_option
@database_options
def list_waiting(
    database: Database, rows: int, before: int, reason: str | None, as_json: bool
) -> None:
    """List what waits, newest first."""
    refused = database.run(
        lambda c: operations.list_quarantine(c, rows=rows, before=before, reason=reason)
    )
    if as_json:
        print_items(refused, after=refused[-1].quarantine_id if len(refused) == rows else None)
        return
    columns = ("id", "source", "event", "reason", "detail", "received", "items")
    # An id is printed as it is typed: without commas.
    cells = [(str(each.quarantine_id), *astuple(each)[1:]) for each in refused]
    print_table("Quarantine", columns, cells, numbers=1)


@quarantine.command()
@click.argument("quarantine_id", type=ROW_ID)
@database_options
def show(database: Database, quarantine_id: int) -> None:
    """Write the bytes of one event to stdout, as far as they are kept."""
    kept = database.run(lambda c: operations.find_quarantine_raw(c, quarantine_id))
    if kept is None:
        raise NotFoundError(
            f"There are no bytes of quarantined event {quarantine_id}.",
            "They expire; ask the sender for it.",
        )
    click.echo(kept.raw, nl=False)
    if kept.truncated:
        click.echo("(cut off here)", err=True)


@quarantine.command()
@click.argument("quarantine_ids", type=ROW_ID, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Everything that waits.")
@json_option
@database_options
def replay(
    database: Database, quarantine_ids: tuple[int, ...], everything: bool, as_json: bool
) -> None:
    """Try again to read events, after what was wrong has been mended."""
    if bool(quarantine_ids) == everything:
        raise click.UsageError("name events by their ids, or give --all")

    async def work(connection: Connection) -> Mapping[int, ItemOutcome]:
        ids = list(quarantine_ids) or await _waiting_ids(connection)
        return await replay_quarantine(
            connection,
            ids,
            directory=DirectoryCache(),
            now=clock.now(),
            limits=limits_of(database.settings),
            actor=author_of("replay").actor,
            leave_hopeless=everything,
        )

    done: Mapping[int, ItemOutcome] = database.run(work)
    if as_json:
        print_items(
            [
                {"quarantine_id": number, "outcome": item.outcome, "detail": item.detail}
                for number, item in done.items()
            ]
        )
        return
    rows = [(str(number), item.outcome, item.detail) for number, item in done.items()]
    print_table("Replayed", ("id", "outcome", "detail"), rows)


@quarantine.command()
@click.argument("quarantine_ids", type=ROW_ID, nargs=-1, required=True)
@click.option("--reason", required=True, help="Why nobody waits for it; kept with who says so.")
@database_options
def dismiss(database: Database, quarantine_ids: tuple[int, ...], reason: str) -> None:
    """Take events out of what waits: they stay recorded, and leave status and alarms."""
    author = author_of(reason)
    done = database.run(lambda c: dismiss_quarantine(c, quarantine_ids, author, now=clock.now()))
    click.echo(f"{done:,} dismissed.")


async def _waiting_ids(connection: Connection) -> list[int]:
    ids: list[int] = []
    before = operations.LAST
    while page := await operations.list_quarantine(connection, rows=1_000, before=before):
        ids += [each.quarantine_id for each in page]
        before = ids[-1]
    return ids
