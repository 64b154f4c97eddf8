"""`tokenledger invoice run`: all invoices of an entity's billing periods."""

import click

from ledger import clock
from ledger.api.shapes import run_json
from ledger.commands.data.show import json_option, print_json, print_table, progress, say
from ledger.commands.run.periods import read_moment
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.flows.billing.draft_invoice import Moment
from ledger.flows.billing.issue import IssueRules
from ledger.flows.billing.run import InvoiceRun, RunAsk, run_invoices
from ledger.stream.memory import collecting_rarely

at_option = click.option(
    "--at",
    help="A day (in the subscription's zone) or a time inside the billing period; by default now.",
)
allow_unpriced = click.option(
    "--allow-unpriced", "unpriced", is_flag=True, help="Bill the rest; unpriced usage waits."
)
allow_open = click.option(
    "--allow-open", "open_period", is_flag=True, help="Bill a period that is not over."
)


def moment_of(text: str | None) -> Moment:
    """The day or time that was named; now where none was."""
    return clock.now() if text is None else read_moment(text, None)


@click.command()
@click.argument("entity_id")
@at_option
@allow_unpriced
@allow_open
@click.option(
    "--release", multiple=True, metavar="CUSTOMER", help="Its invoices go out though they are held."
)
@click.option("--reason", help="Kept with the invoices; needed to release.")
@json_option
@database_options
def run(
    database: Database,
    *,
    entity_id: str,
    at: str | None,
    release: tuple[str, ...],
    reason: str | None,
    as_json: bool,
    **allowed: bool,
) -> None:
    """Issue all invoices of an entity's billing periods that are not billed yet.

    Broken off, it goes on where it was when it is run again. What cannot go out is parked and tried
    again each time; exit status 1 where something is. An invoice that is unusual for its customer
    is parked for a person, who looks at it and releases it.
    """
    if release and not reason:
        raise click.UsageError("--release needs a --reason")
    author = author_of(reason, "a run of invoices")
    ask = RunAsk(
        entity_id, moment_of(at), clock.now(), author, IssueRules(**allowed), frozenset(release)
    )
    with progress("subscriptions") as advance, collecting_rarely():
        done = database.run(lambda connection: run_invoices(connection, ask, progress=advance))
    _show(done, as_json=as_json)


def _show(done: InvoiceRun, *, as_json: bool) -> None:
    if as_json:
        print_json(run_json(done))
    else:
        rows = [
            (each.currency, each.invoices, each.net_total, each.payable) for each in done.totals
        ]
        print_table("Issued", ("currency", "invoices", "net", "payable"), rows, numbers=3)
        if done.not_over:
            say(f"{done.not_over} billing periods are not over.")
    for each in done.parked:
        say(f"parked: {each}", err=True)
    if done.parked:
        click.get_current_context().exit(1)
