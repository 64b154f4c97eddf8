"""`tokenledger fold`: merge delta rows between kept cut-offs."""

import click

from ledger.commands.data.show import counted, json_option, print_json, progress
from ledger.commands.serve.database import Database, database_options
from ledger.flows.metering.fold import fold as run_fold


@click.command()
@click.option("--all", "every", is_flag=True, help="Look at every window, not the touched ones.")
@json_option
@database_options
def fold(database: Database, every: bool, as_json: bool) -> None:
    """Merge the rows that add up to usage and activity; what any kept cut-off sees stays the same.

    A serving process does this every hour. It may be stopped at any point and run again.
    """
    with progress("windows folded") as advance:
        done = database.run(lambda c: run_fold(c, every=every, progress=advance))
    if as_json:
        print_json(
            {
                "cut_off_id": done.cut_off.cut_off_id,
                "batch_seq": done.cut_off.batch_seq,
                "windows": done.windows,
                "rows_gone": done.rows_gone,
                "rows_come": done.rows_come,
            }
        )
        return
    click.echo(
        f"{counted(done.windows, 'window')} looked at: {counted(done.rows_gone, 'row')} became"
        f" {done.rows_come:,}."
    )
