"""What people enter, list, show and change: routes of the table of resources, and keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from litestar import Response, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from ledger import clock
from ledger.api.access import ADMIN, BY_NAMES, BY_ROWS, HOUSE, READERS
from ledger.api.answer import answer, check_limit, from_row_cursor, page_after
from ledger.api.parameters import moment_of
from ledger.api.request import ApiRequest
from ledger.api.session import (
    asking,
    preview_write,
    read_body,
    read_object,
    working,
    write,
)
from ledger.domain.author import Author
from ledger.domain.errors import InvalidInputError, NotFoundError
from ledger.flows.reference.bound import LEADS_TO_ENTITY
from ledger.flows.reference.end import end_entered, named_by
from ledger.flows.reference.keys import create_api_key, revoke_api_key
from ledger.flows.reference.resource import Change, Enter, Resource
from ledger.flows.reference.resources import RESOURCES, ListQuery, list_page, show_one
from ledger.store.queries import Connection
from ledger.wire import ask_inputs
from ledger.wire import inputs as models
from ledger.wire.inputs import InputModel, read_input

SEEN_BY: Mapping[str, frozenset[str]] = {"customers": READERS, "house": HOUSE, "admins": ADMIN}
# What may be shown to whom is settled by row-level security, but for keys, which it does not reach.
LISTED: Mapping[str, Mapping[str, Any]] = {
    seen_by: {"roles": roles} | ({} if seen_by == "admins" else {"bound": BY_ROWS, "asks": True})
    for seen_by, roles in SEEN_BY.items()
}


def _routes(resource: Resource) -> list[HTTPRouteHandler]:
    routes = []
    if resource.model is not None and resource.enter is not None:
        under = _under if resource.parent else _enter
        routes.append(under(resource, resource.model, resource.enter))
    routes += [_list_under(resource)] if resource.parent else [_list(resource), _show(resource)]
    if resource.change is not None:
        routes.append(_change(resource, resource.change))
    return routes


def _enter(resource: Resource, model: type[InputModel], enter: Enter) -> HTTPRouteHandler:
    settings = {**_entered(model), "operation_id": f"enter_{_name(resource)}"}
    if resource.dated:

        @post(f"/v1/{resource.path}", **settings, previews=True)
        async def enter_dated(
            request: ApiRequest,
            replace: FromQuery[bool] = False,
            preview: FromQuery[bool] = False,
        ) -> Response[bytes]:
            new = await read_body(request, model)
            doing = _Entering(resource, new, enter, {"replace": replace})
            return await doing.answer(request, preview=preview)

        return enter_dated

    @post(f"/v1/{resource.path}", **settings)
    async def enter_one(request: ApiRequest) -> Response[bytes]:
        return await _Entering(resource, await read_body(request, model), enter).answer(request)

    return enter_one


def _under(resource: Resource, model: type[InputModel], enter: Enter) -> HTTPRouteHandler:
    settings = {**_entered(model), "operation_id": f"enter_{_name(resource)}", "previews": True}

    @post(_path_under(resource), **settings)
    async def enter_under(
        request: ApiRequest,
        key: FromPath[str],
        replace: FromQuery[bool] = False,
        preview: FromQuery[bool] = False,
    ) -> Response[bytes]:
        new = await _read_of(request, model, resource.key, key)
        doing = _Entering(resource, new, enter, {"replace": replace})
        return await doing.answer(request, preview=preview)

    return enter_under


def _list(resource: Resource) -> HTTPRouteHandler:
    @get(
        f"/v1/{resource.path}",
        **LISTED[resource.seen_by],
        operation_id=f"list_{_name(resource)}",
    )
    async def list_all(
        request: ApiRequest,
        entity: FromQuery[str | None] = None,
        key: FromQuery[str | None] = None,
        at: FromQuery[str | None] = None,
        limit: FromQuery[int] = 100,
        cursor: FromQuery[str | None] = None,
    ) -> Response[bytes]:
        return await _page(request, resource, limit, cursor, at, entity_id=entity, key=key)

    return list_all


def _list_under(resource: Resource) -> HTTPRouteHandler:
    @get(
        _path_under(resource),
        **LISTED[resource.seen_by],
        operation_id=f"list_{_name(resource)}",
    )
    async def list_under(
        request: ApiRequest,
        key: FromPath[str],
        at: FromQuery[str | None] = None,
        limit: FromQuery[int] = 100,
        cursor: FromQuery[str | None] = None,
    ) -> Response[bytes]:
        return await _page(request, resource, limit, cursor, at, key=key)

    return list_under


def _show(resource: Resource) -> HTTPRouteHandler:
    @get(
        f"/v1/{resource.path}/{{key:str}}",
        **LISTED[resource.seen_by],
        operation_id=f"show_{_name(resource)}",
    )
    async def show(request: ApiRequest, key: FromPath[str]) -> Response[bytes]:
        async with _seeing(request, resource) as connection:
            entered = await show_one(connection, resource, key, now=clock.now())
        if entered is None:
            raise NotFoundError(
                f"There is no {resource.noun} {key}.", "List them to see their ids."
            )
        return answer(entered)

    return show


def _change(resource: Resource, what: Change) -> HTTPRouteHandler:
    @patch(
        f"/v1/{resource.path}/{{key:str}}",
        **_entered(what.model),
        operation_id=f"change_{_name(resource)}",
        previews=True,
    )
    async def change(
        request: ApiRequest, key: FromPath[str], preview: FromQuery[bool] = False
    ) -> Response[bytes]:
        new = await _read_of(request, what.model, resource.key, key)

        async def work(connection: Connection, author: Author) -> dict[str, Any]:
            return {"id": await what.change(connection, new, author)}

        if preview:
            return await preview_write(request, work, concerns=new.model_dump())
        return await write(request, work, concerns=new.model_dump(), status=200)

    return change


def _entered(model: type[InputModel]) -> dict[str, Any]:
    """Who may enter it: what leads to no entity is nothing for who is bound to one."""
    leads = LEADS_TO_ENTITY & model.model_fields.keys()
    return {"roles": HOUSE} | ({"bound": BY_NAMES} if leads else {})


@dataclass(frozen=True, slots=True)
class _Entering:
    """What is entered of a resource, and how."""

    resource: Resource
    new: InputModel
    enter: Enter
    how: Mapping[str, bool] = field(default_factory=dict)

    async def answer(self, request: ApiRequest, *, preview: bool = False) -> Response[bytes]:
        """Enter it, or with `preview` say what that would move."""
        concerns = self.new.model_dump()
        if preview:
            return await preview_write(request, self._enter, concerns=concerns)
        return await write(request, self._write, concerns=concerns)

    async def _enter(self, connection: Connection, author: Author) -> Any:
        return await self.enter(connection, self.new, author, **self.how)

    async def _write(self, connection: Connection, author: Author) -> dict[str, Any]:
        written, key = await self._enter(connection, author), self.resource.key
        if not self.resource.counted:
            return {"id": getattr(self.new, key)}
        if self.resource.holes is None:
            return {"added": written}
        holes = await self.resource.holes(connection, self.new)
        return {"added": written, "holes": [hole._asdict() for hole in holes]}


async def _page(
    request: ApiRequest,
    resource: Resource,
    limit: int,
    cursor: str | None,
    at: str | None,
    **which: str | None,
) -> Response[bytes]:
    moment = moment_of("at", at) if at is not None else None
    asked = ListQuery(check_limit(limit) + 1, at=moment, after=from_row_cursor(cursor), **which)
    async with _seeing(request, resource) as connection:
        rows = await list_page(connection, resource, asked, now=clock.now())
    return answer(page_after(rows, limit))


async def _read_of(request: ApiRequest, model: type[InputModel], key_field: str, key: str) -> Any:
    """A body of what the path names; it may leave the name out, but not say another."""
    body = await read_object(request)
    if body.get(key_field, key) != key:
        raise InvalidInputError(
            f"{key_field}: found another than the path's.", "Leave it out.", key_field
        )
    return read_input(model, {**body, key_field: key})


def _seeing(request: ApiRequest, resource: Resource) -> Any:
    # Keys are out of the reach of the role that reads.
    return working(request) if resource.seen_by == "admins" else asking(request)


def _path_under(resource: Resource) -> str:
    return f"/v1/{resource.parent}/{{key:str}}/prices"


def _name(resource: Resource) -> str:
    return resource.path.replace("-", "_")


@post("/v1/ends", roles=HOUSE, bound=BY_NAMES, previews=True)
async def end(request: ApiRequest, preview: FromQuery[bool] = False) -> Response[bytes]:
    """End what is recorded under an id, from a moment on or for a time."""
    asked = await read_body(request, ask_inputs.EndAsk)

    async def work(connection: Connection, author: Author) -> dict[str, str]:
        return {"id": await end_entered(connection, asked, author)}

    doing = preview_write if preview else write
    return await doing(request, work, concerns=named_by(asked))


@post("/v1/keys", roles=ADMIN)
async def create_key(request: ApiRequest) -> Response[bytes]:
    """Make an API key; its text is in this answer and nowhere else."""
    if "idempotency-key" in request.headers:
        raise InvalidInputError(
            "A key's secret is shown once and never stored.", "Leave out Idempotency-Key."
        )
    new = await read_body(request, models.NewApiKey)

    async def work(connection: Connection, author: Author) -> dict[str, Any]:
        made = await create_api_key(connection, new, author)
        return {"key_id": made.key_id, "key": made.text}

    return await write(request, work, concerns={})


@post("/v1/keys/{key_id:str}/revocation", roles=ADMIN, status_code=200)
async def revoke_key(request: ApiRequest, key_id: FromPath[str]) -> Response[bytes]:
    """Revoke a key for good."""

    async def work(connection: Connection, author: Author) -> dict[str, Any]:
        await revoke_api_key(connection, key_id, author)
        return {"key_id": key_id, "revoked": True}

    return await write(request, work, concerns={}, status=200)


HANDLERS: tuple[HTTPRouteHandler, ...] = (
    *(handler for resource in RESOURCES for handler in _routes(resource)),
    end,
    create_key,
    revoke_key,
)
