"""`tokenledger webhook`: secrets of webhooks, switching them, and sending what is due."""

from functools import partial

import click

from ledger import clock
from ledger.commands.data.show import counted, json_option, print_json
from ledger.commands.groups import group
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.flows.billing.deliver import Delivered, deliver, replay_notice
from ledger.flows.reference.enter_webhook import make_secret, switch_webhook
from ledger.store.billing.webhooks import tell_of_overdue
from ledger.store.queries import Connection
from ledger.stream.post import post


@group()
def webhook() -> None:
    """Tell systems what happened. Webhooks are entered by `import webhooks`; see docs/webhooks.md.

    `list webhooks`, `list notices` and `list deliveries` show what there is, what happened, and
    what came of telling it.
    """


@webhook.command()
@click.argument("webhook_id")
@click.option("--reason", default="made on the command line", help="Kept with it.")
@json_option
@database_options
def secret(database: Database, *, webhook_id: str, reason: str, as_json: bool) -> None:
    """Make the secret that signs from now on, and show it, once; the one before signs for a day."""
    made = database.run(
        lambda connection: make_secret(connection, webhook_id, author_of(reason), now=clock.now())
    )
    if as_json:
        print_json({"webhook_id": webhook_id, "secret": made})
        return
    click.echo(made)
    click.echo("Keep it now: it is not shown again.", err=True)


@webhook.command()
@click.argument("webhook_id")
@click.option("--reason", required=True, help="Why; it stands beside the webhook.")
@database_options
def off(database: Database, *, webhook_id: str, reason: str) -> None:
    """Tell a webhook nothing for now; what it misses waits for it."""
    _switch(database, webhook_id, reason, active=False)


@webhook.command()
@click.argument("webhook_id")
@click.option("--reason", required=True, help="Why; it stands beside the webhook.")
@database_options
def on(database: Database, *, webhook_id: str, reason: str) -> None:
    """Tell a webhook what happens again, what waited first."""
    _switch(database, webhook_id, reason, active=True)


@webhook.command()
@click.argument("notice_id")
@click.option("--reason", default="replayed on the command line", help="Kept with it.")
@database_options
def replay(database: Database, *, notice_id: str, reason: str) -> None:
    """Send a notice again, under its id, to every webhook that wants it."""
    queued = database.run(
        lambda connection: replay_notice(connection, notice_id, author_of(reason), now=clock.now())
    )
    click.echo(f"It goes to {counted(queued, 'webhook')} again.")


@webhook.command("deliver")
@json_option
@database_options
def deliver_(database: Database, *, as_json: bool) -> None:
    """Send what is due now, as `up` and `worker` do every few seconds."""
    send = partial(post, allow_inside=database.settings.webhooks_inside)

    async def work(connection: Connection) -> Delivered:
        await tell_of_overdue(connection, now=clock.now())
        return await deliver(connection, post=send, now=clock.now())

    done = database.run(work)
    if as_json:
        print_json(done)
        return
    click.echo(f"{counted(done.delivered, 'notice')} delivered, {done.failed} not.")
    for webhook_id in done.switched_off:
        click.echo(f"Webhook {webhook_id} is switched off: tokenledger show webhook {webhook_id}.")


def _switch(database: Database, webhook_id: str, reason: str, *, active: bool) -> None:
    database.run(
        lambda connection: switch_webhook(
            connection, webhook_id, author_of(reason), active=active, now=clock.now()
        )
    )
    click.echo(f"Webhook {webhook_id} is {'on' if active else 'off'}.")
