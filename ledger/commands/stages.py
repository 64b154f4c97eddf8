"""`tokenledger allocate`, `rate` and `settle`: run the stages over what is stored now."""

from collections.abc import Sequence

import click

from ledger import clock
from ledger.commands.database import Database, database_options
from ledger.commands.show import json_option, print_json, print_table
from ledger.flows.allocate import allocate as run_allocate
from ledger.flows.rate import rate as run_rate
from ledger.flows.settle import settle as run_settle
from ledger.flows.stage import StageReport

entity_option = click.option("--entity", "entity_id", help="Only this entity.")


@click.command()
@entity_option
@json_option
@database_options
def allocate(database: Database, entity_id: str | None, as_json: bool) -> None:
    """Allocate energy and cost to what was served, idle and unattributed."""
    done = database.run(lambda c: run_allocate(c, entity_id=entity_id, now=clock.now()))
    show_stages([done], as_json)


@click.command()
@entity_option
@json_option
@database_options
def rate(database: Database, entity_id: str | None, as_json: bool) -> None:
    """Price what was used by the rate cards of that time."""
    done = database.run(lambda c: run_rate(c, entity_id=entity_id, now=clock.now()))
    show_stages([done], as_json)


@click.command()
@entity_option
@json_option
@database_options
def settle(database: Database, entity_id: str | None, as_json: bool) -> None:
    """Allocate, rate and book, in order; equal results write nothing."""
    done = database.run(lambda c: run_settle(c, entity_id=entity_id, now=clock.now()))
    show_stages(done, as_json)


def show_stages(done: Sequence[StageReport], as_json: bool) -> None:
    """What the stages did."""
    if as_json:
        print_json(
            [
                {
                    "stage": each.stage,
                    "cut_off_id": each.cut_off.cut_off_id,
                    "batch_seq": each.cut_off.batch_seq,
                    "windows": each.windows,
                    "rows_written": each.rows_written,
                }
                for each in done
            ]
        )
        return
    rows = [(each.stage, each.cut_off.batch_seq, each.windows, each.rows_written) for each in done]
    columns = ("stage", "stored up to", "windows looked at", "rows written")
    print_table("Settled", columns, rows, numbers=3)
