"""Ends what is dated: from a moment on it is recorded no longer, and what was before it stays."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ledger.flows.reference.resource import Ending, Resource
from ledger.flows.reference.resources import ENDING, VERSIONS_MAX, ListQuery, list_page
from ledger.flows.reference.supersede import Written, keep_write, writing
from ledger.store.connect import draw_batch_seq
from ledger.store.dated import DatedRow
from ledger.store.queries import Connection
from ledger.store.resources import ListedRow
from ledger.wire.ask_inputs import EndAsk
from ledger.wire.inputs import read_field


async def end_entered(connection: Connection, asked: EndAsk, author: Author) -> str:
    """End what is recorded under an id, from a moment on or for a time; returns the id.

    What has ended by then already is left as it is. NotFoundError where there is no such thing;
    ConflictError where the id has several and `of` does not say which, or others need it.
    """
    resource = ENDING[asked.kind]
    ending = resource.ending
    assert ending is not None
    _check_names(resource, ending, asked)
    async with writing(connection):
        meant = await _find_meant(connection, resource, ending, asked)
        rows = await _find_rows(connection, resource, ending, meant, asked)
        if rows:
            await _end(connection, resource, ending, rows, asked, author)
    return asked.id


def named_by(asked: EndAsk) -> Mapping[str, object]:
    """The fields that name what is meant, as its own inputs call them."""
    return {**asked.of, ENDING[asked.kind].key: asked.id}


async def _end(
    connection: Connection,
    resource: Resource,
    ending: Ending,
    rows: Sequence[DatedRow],
    asked: EndAsk,
    author: Author,
) -> None:
    batch_seq = await draw_batch_seq(connection)
    closed = [row.row_id for row in rows]
    remaining = await ending.table.supersede(
        connection,
        row_ids=closed,
        valid_from=asked.valid_from,
        valid_to=asked.valid_to,
        batch_seq=batch_seq,
    )
    values = rows[0].values
    if ending.after is not None:
        written = Written(closed[0], batch_seq, closed, remaining)
        await ending.after(connection, rows[0], asked, written)
    named = (values[name] for name in (resource.key, *ending.by))
    await keep_write(
        connection,
        author,
        batch_seq=batch_seq,
        action=f"end {resource.noun}",
        subject=" / ".join(str(name) for name in named if name not in (None, "")),
        detail={
            **{name: values[name] for name in (resource.key, *ending.by)},
            **asked.model_dump(include={"valid_from", "valid_to"}, exclude_none=True),
        },
    )


def _check_names(resource: Resource, ending: Ending, asked: EndAsk) -> None:
    strange = sorted({*asked.of} - {*ending.by})
    if strange:
        raise InvalidInputError(
            f"A {resource.noun} is not told apart by {strange[0]}.",
            f"Name some of {', '.join(ending.by)}." if ending.by else "Leave it out.",
            f"of.{strange[0]}",
        )


async def _find_meant(
    connection: Connection, resource: Resource, ending: Ending, asked: EndAsk
) -> list[ListedRow]:
    """What is recorded of the one thing that is meant and not over by then."""
    assert resource.model is not None
    of = [(name, read_field(resource.model, name, said)) for name, said in asked.of.items()]
    every = await _list_every(connection, resource, asked)
    known = [row for row in every if all(row.values[n] == said for n, said in of)]
    if not known:
        which = f" of {', '.join(f'{name} {said}' for name, said in of)}" if of else ""
        raise NotFoundError(
            f"There is no {resource.noun} {asked.id}{which}.", f"See the list of {resource.path}."
        )
    left = [row for row in known if _is_left(row, asked)]
    apart = {name: {row.values[name] for row in left} for name in ending.by}
    several = [name for name, values in apart.items() if len(values) > 1]
    if several:
        first = ", ".join(f"{name} {left[0].values[name]}" for name in several)
        raise ConflictError(
            f"There are several {resource.path} of {asked.id}; the first has {first}.",
            f"Say which by {', '.join(several)}.",
            "of",
        )
    return left


def _is_left(row: ListedRow, asked: EndAsk) -> bool:
    until = row.values["valid_to"]
    return not isinstance(until, datetime) or until > asked.valid_from


async def _list_every(connection: Connection, resource: Resource, asked: EndAsk) -> list[ListedRow]:
    rows: list[ListedRow] = []
    after: Sequence[str] | None = None
    while True:
        query = ListQuery(limit=VERSIONS_MAX, key=asked.id, after=after)
        page = await list_page(connection, resource, query, now=asked.valid_from)
        rows += page
        if len(page) < VERSIONS_MAX:
            return rows
        after = page[-1].position


async def _find_rows(
    connection: Connection,
    resource: Resource,
    ending: Ending,
    meant: Sequence[ListedRow],
    asked: EndAsk,
) -> list[DatedRow]:
    """Their rows, locked, each once."""
    rows: dict[int, DatedRow] = {}
    for row in meant:
        keys = {
            name: ending.none.get(name) if row.values[name] is None else row.values[name]
            for name in ending.table.keys
        }
        for each in await ending.table.find_open(
            connection, keys, valid_from=asked.valid_from, valid_to=asked.valid_to
        ):
            if all(each.values[name] == keys[name] for name in (resource.key, *ending.by)):
                rows[each.row_id] = each
    return list(rows.values())
