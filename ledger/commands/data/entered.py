"""`tokenledger list`, `show`, `change` and `end`: what was entered, whatever its kind."""

from collections.abc import Mapping, Sequence

import click

from ledger import clock
from ledger.commands.data.imports import pairs
from ledger.commands.data.preview import preview_option, print_preview
from ledger.commands.data.show import json_option, print_items, print_json, print_table
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.domain.errors import NotFoundError
from ledger.flows.reference.end import end_entered
from ledger.flows.reference.resource import Resource
from ledger.flows.reference.resources import (
    BY_WORD,
    ENDING,
    RESOURCES,
    ListQuery,
    list_page,
    show_one,
)
from ledger.store.queries import Connection
from ledger.wire.ask_inputs import EndAsk
from ledger.wire.inputs import read_input, typed_texts

PAGE = 1_000
CHANGING = [each.noun for each in RESOURCES if each.change is not None]


class _Kind(click.ParamType[Resource]):
    """One of the resources, by any of its words."""

    name = "kind"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Resource:
        """The resource a word names; a usage error lists them."""
        resource = BY_WORD.get(value.lower())
        if resource is None:
            self.fail(f"{value!r} is none of {', '.join(e.path for e in RESOURCES)}", param, ctx)
        return resource


kind_argument = click.argument("kind", type=_Kind())


@click.command("list", help=f"List KIND: {', '.join(each.path for each in RESOURCES)}.")
@kind_argument
@click.option("--entity", help="Only of this entity.")
@json_option
@database_options
def list_(database: Database, kind: Resource, *, entity: str | None, as_json: bool) -> None:
    """List everything of a kind as it is recorded now."""
    rows = database.run(lambda connection: _every(connection, kind, entity))
    if as_json:
        print_items(rows)
    else:
        _print(kind, kind.about.capitalize(), rows)


@click.command(help="Show one of KIND by its ID: what holds now, and what held or will hold when.")
@kind_argument
@click.argument("key", metavar="ID")
@json_option
@database_options
def show(database: Database, kind: Resource, key: str, *, as_json: bool) -> None:
    """Show what is recorded under an id."""
    entered = database.run(lambda connection: show_one(connection, kind, key, now=clock.now()))
    if entered is None:
        raise NotFoundError(f"There is no {kind.noun} {key}.", f"See tokenledger list {kind.path}.")
    if as_json:
        print_json(entered)
        return
    title = f"{kind.noun} {key}"
    versions = entered.versions
    if entered.now is not None:
        print_table(title, ("", "now"), list(entered.now.items()))
    if len(versions) > 1 or entered.now is None:
        _print(kind, f"{title}: every validity recorded now", versions)


@click.command(help=f"Change KIND ({' or '.join(CHANGING)}) ID from a day on; the rest stays.")
@click.argument("kind", type=click.Choice(CHANGING))
@click.argument("key", metavar="ID")
@click.option("--from", "valid_from", required=True, help="The first day, in the entity's zone.")
@click.option("--to", "valid_to", help="The first day on which it no longer holds.")
@click.option("--set", "fields", multiple=True, required=True, help="FIELD=VALUE; may be empty.")
@click.option("--reason", help="Kept with the change.")
@preview_option
@json_option
@database_options
def change(
    database: Database,
    kind: str,
    key: str,
    *,
    valid_from: str,
    valid_to: str | None,
    fields: Sequence[str],
    reason: str | None,
    preview: bool,
    as_json: bool,
) -> None:
    """Change details of an entity or a customer."""
    what = BY_WORD[kind].change
    assert what is not None
    said = pairs(fields, "--set")
    nothing = {n: None if n in what.model.may_be_nothing else "" for n, t in said.items() if not t}
    cells = {**said, what.model.key: key, "valid_from": valid_from, "valid_to": valid_to or ""}
    new = read_input(what.model, typed_texts(what.model, cells) | nothing)
    author = author_of(reason, "changed on the command line")
    if preview:
        print_preview(database, lambda c, who: what.change(c, new, who), author, as_json=as_json)
        return
    database.run(lambda connection: what.change(connection, new, author))
    if as_json:
        print_json({"id": key})
        return
    click.echo(f"{kind} {key} is changed from {valid_from} on.")


@click.command(help=f"End KIND ({', '.join(ENDING)}) ID from a moment on; what was before stays.")
@click.argument("kind", type=_Kind())
@click.argument("key", metavar="ID")
@click.option("--from", "valid_from", required=True, help="From when on, as 2026-08-01T00:00:00Z.")
@click.option("--to", "valid_to", help="Until when, where it only pauses.")
@click.option(
    "--of", "fields", multiple=True, help="FIELD=VALUE, where the id has several; may be empty."
)
@click.option("--reason", help="Kept with it.")
@preview_option
@json_option
@database_options
def end(
    database: Database,
    kind: Resource,
    key: str,
    *,
    valid_from: str,
    valid_to: str | None,
    fields: Sequence[str],
    reason: str | None,
    preview: bool,
    as_json: bool,
) -> None:
    """End what is recorded under an id."""
    if kind.ending is None:
        raise click.UsageError(f"{kind.path} have no end: {', '.join(ENDING)} have one")
    said = pairs(fields, "--of")
    of: dict[str, object] = {name: None for name, text in said.items() if not text}
    if kind.model is not None:
        of |= typed_texts(kind.model, said)
    cells = {"valid_from": valid_from} | ({"valid_to": valid_to} if valid_to else {})
    asked = read_input(EndAsk, {"kind": kind.path, "id": key, "of": of, **cells})
    author = author_of(reason, "ended on the command line")
    if preview:
        print_preview(database, lambda c, who: end_entered(c, asked, who), author, as_json=as_json)
        return
    database.run(lambda connection: end_entered(connection, asked, author))
    if as_json:
        print_json({"id": asked.id})
        return
    until = f" until {valid_to}" if valid_to else ""
    click.echo(f"{kind.noun} {key} has ended from {valid_from} on{until}.")


async def _every(
    connection: Connection, kind: Resource, entity: str | None
) -> list[Mapping[str, object]]:
    now = clock.now()
    rows: list[Mapping[str, object]] = []
    after: Sequence[str] | None = None
    while True:
        asked = ListQuery(limit=PAGE, entity_id=entity, after=after)
        page = await list_page(connection, kind, asked, now=now)
        rows += [row.values for row in page]
        if len(page) < PAGE:
            return rows
        after = page[-1].position


def _print(kind: Resource, title: str, rows: Sequence[Mapping[str, object]]) -> None:
    first = [kind.key, *kind.columns]
    columns = [*first, *(name for name in rows[0] if name not in first)] if rows else first
    cells = [[_cell(row[name]) for name in columns] for row in rows]
    print_table(title, columns, cells, first=first)


def _cell(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(value) or None
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return value.replace("\n", ", ") if isinstance(value, str) else value
