"""`tokenledger keys`: create, list and revoke API keys."""

import click

from ledger.commands.data.show import json_option, print_items, print_json, print_table
from ledger.commands.groups import group
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.flows.reference.keys import create_api_key, id_of, revoke_api_key
from ledger.store.keys import ApiKey, list_api_keys
from ledger.wire.inputs import NewApiKey, read_input


@group()
def keys() -> None:
    """Create, list and revoke API keys; a key's text is shown once, when it is created."""


@keys.command()
@click.option(
    "--role", required=True, type=click.Choice(["admin", "finance", "ingest", "customer"])
)
@click.option("--name", default="", help="What the key is for.")
@click.option("--entity", "entity_id", help="The entity it is limited to.")
@click.option("--customer-id", help="Whose usage and invoices a customer key sees.")
@click.option("--source", "sources", multiple=True, help="A source an ingest key writes.")
@click.option("--customer", "customers", multiple=True, help="Limits an ingest key to them.")
@click.option("--tier", help="The tier of usage sent under an ingest key that names none.")
@click.option("--reason", default="created on the command line", help="Kept with the key.")
@json_option
@database_options
def create(database: Database, reason: str, as_json: bool, **given: object) -> None:
    """Create a key and show its text, once."""
    new = read_input(
        NewApiKey,
        {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()},
    )
    made = database.run(lambda connection: create_api_key(connection, new, author_of(reason)))
    if as_json:
        print_json({"key_id": made.key_id, "role": new.role, "key": made.text})
    else:
        click.echo(made.text)
        click.echo("Keep it now: it is not shown again.", err=True)


@keys.command("list")
@json_option
@database_options
def list_(database: Database, as_json: bool) -> None:
    """List every key, without secrets."""
    listed = database.run(list_api_keys)
    if as_json:
        print_items([_shown(key) for key in listed])
        return
    columns = ("key", "role", "name", "scope", "created", "revoked")
    rows = [(k.key_id, k.role, k.name, _scope(k), k.created_at, k.revoked_at) for k in listed]
    print_table("API keys", columns, rows)


@keys.command()
@click.argument("key_id")
@click.option("--reason", default="revoked on the command line", help="Kept with it.")
@database_options
def revoke(database: Database, key_id: str, reason: str) -> None:
    """Revoke a key for good, by its id as it is listed; the key's whole text serves too."""
    named = id_of(key_id)
    database.run(lambda connection: revoke_api_key(connection, key_id, author_of(reason)))
    click.echo(f"Key {named} is revoked.")


def _shown(key: ApiKey) -> dict[str, object]:
    names = (
        *("key_id", "role", "name", "entity_id", "customer_id", "sources", "customers", "tier"),
        *("created_at", "revoked_at"),
    )
    return {name: getattr(key, name) for name in names}


def _scope(key: ApiKey) -> str:
    parts = [part for part in (key.entity_id, key.customer_id, key.tier) if part]
    return ", ".join([*parts, *key.sources, *key.customers])
