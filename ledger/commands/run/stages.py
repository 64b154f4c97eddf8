"""`tokenledger settle`, and a command for each stage: run them over what is stored now."""

from collections.abc import Iterable, Sequence

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_json, print_table, say
from ledger.commands.serve.database import Database, database_options
from ledger.flows.settle import run_stages
from ledger.flows.stage import Stage, StageReport
from ledger.flows.stages import STAGES, load_stages
from ledger.store.queries import Connection
from ledger.store.standing import hurry_parked
from ledger.stream.memory import collecting_rarely

entity_option = click.option("--entity", "entity_id", help="Only this entity.")


def stage_command(name: str) -> click.Command:
    """The command of a stage of the table."""
    listed = STAGES[name]

    @click.command(name.replace("_", "-"), help=listed.about)
    @entity_option
    @json_option
    @database_options
    def command(database: Database, entity_id: str | None, as_json: bool) -> None:
        show_stages(database.run(lambda c: _now([listed.load()], c, entity_id)), as_json)

    return command


@click.command()
@entity_option
@json_option
@database_options
def settle(database: Database, entity_id: str | None, as_json: bool) -> None:
    """Allocate, rate and book, in order; equal results write nothing."""
    show_stages(database.run(lambda c: _now(load_stages(), c, entity_id)), as_json)


async def _now(
    stages: Iterable[Stage], connection: Connection, entity_id: str | None
) -> list[StageReport]:
    """Run stages by hand: what is parked is tried again whatever its pause."""
    await hurry_parked(connection, entity_id=entity_id)
    with collecting_rarely():
        return await run_stages(connection, stages, entity_id=entity_id, now=clock.now())


def show_stages(done: Sequence[StageReport], as_json: bool) -> None:
    """What the stages did, and what is parked; exit status 1 where anything is."""
    parked = [part for each in done for part in each.parked]
    _show_done(done, as_json)
    for part in parked:
        say(f"parked: {part}", err=True)
    if parked:
        click.get_current_context().exit(1)


def _show_done(done: Sequence[StageReport], as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "stage": each.stage,
                    "cut_off_id": each.cut_off.cut_off_id,
                    "batch_seq": each.cut_off.batch_seq,
                    "windows": each.windows,
                    "rows_written": each.rows_written,
                    "parked": len(each.parked),
                }
                for each in done
            ]
        )
        return
    rows = [
        (each.stage, each.cut_off.batch_seq, each.windows, each.rows_written, len(each.parked))
        for each in done
    ]
    columns = ("stage", "stored up to", "windows looked at", "rows written", "parked")
    print_table("Settled", columns, rows, numbers=4)
