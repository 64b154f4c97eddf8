"""`tokenledger conflicts`: what came under an identity that was taken, and which of two it was."""

import json
from collections.abc import Sequence
from textwrap import indent
from typing import Any

import click

from ledger import clock
from ledger.api.shapes import show_conflict as shape_conflict
from ledger.commands.data.show import json_option, print_items, print_json, print_table, say
from ledger.commands.groups import group
from ledger.commands.options import ROW_ID, ROWS
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.domain.metering.record import ItemOutcome
from ledger.flows.metering.conflicts import (
    RESOLUTIONS,
    Resolution,
    Shown,
    resolve_conflict,
    show_conflict,
)
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.limits import limits_of
from ledger.store.metering.conflicts import list_conflicts
from ledger.store.operations import LAST
from ledger.store.queries import Connection
from ledger.wire.plain import plain_value


@group()
def conflicts() -> None:
    """Other content under an id or number that is taken: never summed, kept for a while."""


@conflicts.command("list")
@click.option("--rows", type=ROWS, default=100, show_default=True)
@click.option("--before", type=ROW_ID, default=LAST, help="Only ids below this one.")
@click.option("--source", help="Only of this source.")
@click.option("--all", "everything", is_flag=True, help="Those that are resolved as well.")
@json_option
@database_options
def list_waiting(  # its options
    database: Database,
    rows: int,
    before: int,
    source: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    """List conflicts that wait, newest first."""
    waiting = database.run(
        lambda c: list_conflicts(c, rows=rows, before=before, source=source, resolved=everything)
    )
    if as_json:
        print_items(waiting, after=waiting[-1].conflict_id if len(waiting) == rows else None)
        return
    cells = [
        (
            str(conflict.conflict_id),
            conflict.source,
            conflict.event_id,
            conflict.items,
            conflict.offer_kept,
            conflict.resolution,
        )
        for conflict in waiting
    ]
    print_table("Conflicts", ("id", "source", "event", "items", "kept", "resolved as"), cells)


@conflicts.command()
@click.argument("conflict_id", type=ROW_ID)
@json_option
@database_options
def show(database: Database, conflict_id: int, as_json: bool) -> None:
    """Say what is stored and what was offered."""
    shown: Shown = database.run(lambda c: show_conflict(c, conflict_id))
    if as_json:
        print_json(shape_conflict(shown))
        return
    conflict = shown.conflict
    say(f"Conflict {conflict_id}: {conflict.event_id} of {conflict.source}")
    if conflict.resolution is not None:
        say(f"Resolved as {conflict.resolution} by {conflict.resolved_by}: {conflict.reason}")
    _say("Stored", shown.stored, "nothing here: its day is archived, or it never counted")
    _say("Offered", shown.offered or (), "no longer kept")


def _say(title: str, events: Sequence[Any], without: str) -> None:
    say(f"{title}:" if events else f"{title}: {without}")
    for event in events:
        known = {
            name: value for name, value in plain_value(event).items() if value not in (None, "")
        }
        say(indent(json.dumps(known, indent=2, ensure_ascii=False), "  "))


@conflicts.command()
@click.argument("conflict_id", type=ROW_ID)
@click.argument("resolution", type=click.Choice(RESOLUTIONS))
@click.option("--reason", required=True, help="Why; kept with who says so.")
@click.option("--id", "event_id", help="The id it is to have, where it is sent again.")
@json_option
@database_options
def resolve(  # its options
    database: Database,
    conflict_id: int,
    resolution: Resolution,
    reason: str,
    event_id: str | None,
    as_json: bool,
) -> None:
    """Say which side it was.

    kept: what is stored stands. corrected: what was offered replaces it. resent: it was another
    event, which is stored under the id that --id names.
    """

    async def work(connection: Connection) -> Sequence[ItemOutcome]:
        return await resolve_conflict(
            connection,
            conflict_id,
            resolution,
            author_of(reason),
            event_id=event_id,
            directory=DirectoryCache(),
            now=clock.now(),
            limits=limits_of(database.settings),
        )

    outcomes = database.run(work)
    if as_json:
        events = [outcome.outcome for outcome in outcomes]
        print_json({"conflict_id": conflict_id, "resolution": resolution, "events": events})
    else:
        say(f"Conflict {conflict_id} is resolved as {resolution}.")
