"""`tokenledger merge`: merge the facts of days that are over into large chunks."""

import click

from ledger import clock
from ledger.commands.data.show import counted, json_option, print_json, progress
from ledger.commands.serve.database import Database, database_options
from ledger.flows.metering.merge import USUAL_SIZES, MergeSizes
from ledger.flows.metering.merge import merge as run_merge


@click.command()
@click.option("--all", "every", is_flag=True, help="Of the day that is not over as well.")
@json_option
@database_options
def merge(database: Database, every: bool, as_json: bool) -> None:
    """Merge the facts of days that are over into large chunks, by customer and time.

    A serving process does this every ten minutes, and of a day that is not over once a million of
    its facts wait. It may be stopped at any point and run again.
    """
    today, sizes = clock.now().date(), MergeSizes(open_day=1) if every else USUAL_SIZES
    with progress("facts merged") as advance:
        done = database.run(lambda c: run_merge(c, today=today, sizes=sizes, progress=advance))
    if as_json:
        print_json({"merged": done.merged, "kept": done.kept})
        return
    for day in done.merged:
        chunks = counted(day.chunks, "chunk")
        click.echo(f"{day.stored_day}: {counted(day.facts, 'fact')} in {chunks}.")
    for kept in done.kept:
        click.echo(f"{kept.stored_day} stays: {kept.reason}.")
    if not (done.merged or done.kept):
        click.echo("Nothing to merge.")
