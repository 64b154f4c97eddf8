"""`tokenledger dunning`: letters about what is overdue."""

from pathlib import Path

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_json, print_table
from ledger.commands.groups import group
from ledger.commands.options import ROW_ID
from ledger.commands.run.periods import find_asked_entity
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.domain.errors import NotFoundError
from ledger.flows.billing.dun import DunningRun, run_dunning
from ledger.store.billing.dunning import find_letter
from ledger.store.queries import Connection


@group()
def dunning() -> None:
    """Remind customers of what is overdue, by the policy of their entity (dunning-policies).

    `report receivables` says what is open and as how often it was reminded of; `list
    dunning-letters` has the letters.
    """


@dunning.command()
@click.option("--entity", "entity_id", help="Whose customers; needed where there are several.")
@click.option("--reason", default="run on the command line", help="Kept with each letter.")
@json_option
@database_options
def run(database: Database, *, entity_id: str | None, reason: str, as_json: bool) -> None:
    """Write the letters that are due today; run again, it writes what is missing."""

    async def work(connection: Connection) -> DunningRun:
        entity, _ = await find_asked_entity(connection, entity_id)
        return await run_dunning(
            connection, entity_id=entity, now=clock.now(), author=author_of(reason)
        )

    done = database.run(work)
    if as_json:
        print_json(done)
        return
    rows = [
        (
            *(each.letter_id, each.customer_id, each.level, each.currency, each.open),
            ", ".join(each.invoices),
        )
        for each in done.letters
    ]
    columns = ("letter", "customer", "level", "currency", "open", "invoices")
    print_table(f"Letters of {done.today}", columns, rows, first=("open", "currency", "customer"))
    for refused in done.refused:
        click.echo(f"Not written to {refused}")


@dunning.command()
@click.argument("letter_id", type=ROW_ID)
@click.option("--output", type=click.Path(path_type=Path), help="By default letter-ID.pdf, here.")
@database_options
def pdf(database: Database, *, letter_id: int, output: Path | None) -> None:
    """Write the PDF of a letter as it went out."""
    content = database.run(lambda connection: find_letter(connection, letter_id))
    if content is None:
        raise NotFoundError(
            f"There is no letter {letter_id}.", "See them: tokenledger list dunning-letters."
        )
    target = output or Path(f"letter-{letter_id}.pdf")
    target.write_bytes(content)
    click.echo(f"Wrote {target}.")
