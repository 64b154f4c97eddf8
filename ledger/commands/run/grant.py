"""`tokenledger grant`: credit that customers hold in advance, and what is left of it."""

from collections.abc import Sequence
from functools import partial

import click

from ledger import clock
from ledger.commands.data.entered import list_
from ledger.commands.groups import group
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.domain.errors import NotFoundError
from ledger.domain.period import day_of
from ledger.flows.reference.enter_grant import enter_grant
from ledger.flows.reference.resources import BY_WORD
from ledger.store.parties import find_customer, find_entity
from ledger.store.queries import Connection
from ledger.wire.credit_inputs import NewGrant
from ledger.wire.inputs import read_input


@group("grant")
def grant() -> None:
    """Credit that customers hold in advance, and what is left of it."""


@grant.command()
@click.argument("grant_id")
@click.option("--customer", "customer_id", required=True, help="Whose credit it is.")
@click.option("--amount", required=True, help="How much, in whole minor units.")
@click.option("--currency", help="Of which currency; the entity's where left out.")
@click.option("--promotional", is_flag=True, help="It is given, and nothing was paid for it.")
@click.option("--priority", type=int, default=0, help="What is drawn first has the lowest.")
@click.option("--meter", "meters", multiple=True, help="It pays for this meter; may be repeated.")
@click.option("--model", "models", multiple=True, help="It pays for this model; may be repeated.")
@click.option("--on", "granted_on", help="The day it was granted; today where left out.")
@click.option("--from", "starts_on", help="The first day of which it pays for usage.")
@click.option("--expires", "expires_on", help="The first day of which it pays for none.")
@click.option("--order", "order_id", type=int, help="The top-up order that it came of.")
@click.option("--reason", help="Kept with the grant.")
@database_options
def give(  # one option a field of NewGrant
    database: Database,
    grant_id: str,
    *,
    customer_id: str,
    meters: Sequence[str],
    models: Sequence[str],
    promotional: bool,
    reason: str | None,
    **said: str | int | None,
) -> None:
    """Grant a customer credit under GRANT_ID, as it was paid for or is given."""
    told: dict[str, object] = {name: value for name, value in said.items() if value is not None}
    told |= {"kind": "promotional" if promotional else "prepaid"}
    told |= {"meters": list(meters), "models": list(models)}

    async def work(connection: Connection) -> None:
        customer = await find_customer(connection, customer_id)
        if customer is None:
            raise NotFoundError(f"There is no customer {customer_id}.", "See `list customers`.")
        entity = await find_entity(connection, customer.entity_id)
        assert entity is not None, "the customer is of it"
        usual = {
            "entity_id": entity.entity_id,
            "currency": entity.currency,
            "granted_on": day_of(clock.now(), entity.zone).isoformat(),
        }
        named = {"grant_id": grant_id, "customer_id": customer_id}
        author = author_of(reason, "granted on the command line")
        await enter_grant(connection, read_input(NewGrant, usual | named | told), author)

    database.run(work)
    click.echo(f"{customer_id} holds the grant {grant_id}. See tokenledger grant balances.")


def _listing(path: str, about: str) -> click.Command:
    """What `tokenledger list` says of a kind, by a name of its own."""
    assert list_.callback is not None
    return click.Command(
        path.removeprefix("credit-"),
        params=[each for each in list_.params if each.name != "kind"],
        callback=partial(list_.callback, kind=BY_WORD[path]),
        help=about,
    )


grant.add_command(
    _listing("credit-balances", "What of each customer's credit is drawn, expired and left.")
)
grant.add_command(_listing("credit-events", "Low balances, top-up orders and what expired."))
