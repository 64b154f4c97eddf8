"""`tokenledger check`: do the stored sums equal the facts?"""

import time

import click

from ledger.commands.database import Database, database_options
from ledger.commands.show import json_option, print_json
from ledger.flows.check import CheckReport, check_windows

SHOWN = 20


@click.command()
@json_option
@database_options
@click.pass_context
def check(ctx: click.Context, database: Database, as_json: bool) -> None:
    """Recompute every usage window from the facts and compare; status 1 where any differs."""
    began = time.monotonic_ns()
    found = database.run(check_windows)
    milliseconds = (time.monotonic_ns() - began) // 1_000_000
    if as_json:
        print_json(
            {
                "facts": found.facts,
                "cut_off_id": found.cut_off.cut_off_id,
                "milliseconds": milliseconds,
                "differences": found.differences,
            }
        )
    else:
        _show(found, milliseconds)
    if found.differences:
        ctx.exit(1)


def _show(found: CheckReport, milliseconds: int) -> None:
    for row in found.differences[:SHOWN]:
        said = ", ".join(
            f"{name}: facts {pair['facts']}, stored {pair['stored']}"
            for name, pair in row["counts"].items()
        )
        window = row["window_start"].strftime("%Y-%m-%d %H:%MZ")
        click.echo(f"{window} {row['customer_ref']} {row['model']} {row['tier']}: {said}")
    if len(found.differences) > SHOWN:
        click.echo(f"and {len(found.differences) - SHOWN:,} more")
    verdict = f"{len(found.differences):,} windows differ" if found.differences else "all equal"
    click.echo(f"{found.facts:,} facts added up in {milliseconds:,} ms: {verdict}.")
