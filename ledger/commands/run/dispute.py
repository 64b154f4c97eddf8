"""`tokenledger dispute`: what customers say is wrong with an invoice, and how that ended."""

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_json
from ledger.commands.groups import group
from ledger.commands.options import LINE_NO, ROW_ID
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.flows.billing.dispute import open_dispute, resolve_dispute


@group()
def dispute() -> None:
    """Keep what customers dispute of invoices: nobody is reminded of an invoice meanwhile.

    A credit note (`invoice credit`) resolves what it takes back; `list disputes` has them all.
    """


@dispute.command(name="open")
@click.argument("number")
@click.option("--line", "line_no", type=LINE_NO, help="Only this line of it.")
@click.option("--reason", required=True, help="What the customer says.")
@json_option
@database_options
def open_(
    database: Database, *, number: str, line_no: int | None, reason: str, as_json: bool
) -> None:
    """Keep that an invoice is disputed, by its number or id."""
    done = database.run(
        lambda connection: open_dispute(
            connection, named=number, line_no=line_no, now=clock.now(), author=author_of(reason)
        )
    )
    if as_json:
        print_json(done)
    else:
        what = f"Line {line_no} of invoice" if line_no is not None else "Invoice"
        click.echo(f"{what} {done.invoice} is disputed: dispute {done.dispute_id}.")


@dispute.command()
@click.argument("dispute_id", type=ROW_ID)
@click.option(
    "--outcome",
    type=click.Choice(["rejected", "withdrawn"]),
    required=True,
    help="We rejected it, or the customer has withdrawn it.",
)
@click.option("--reason", required=True, help="Why, kept with it.")
@json_option
@database_options
def resolve(
    database: Database, *, dispute_id: int, outcome: str, reason: str, as_json: bool
) -> None:
    """End a dispute that no credit note resolves."""
    done = database.run(
        lambda connection: resolve_dispute(
            connection,
            dispute_id=dispute_id,
            outcome=outcome,
            now=clock.now(),
            author=author_of(reason),
        )
    )
    if as_json:
        print_json(done)
    else:
        click.echo(f"Dispute {dispute_id} is {outcome}.")
