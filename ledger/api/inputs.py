"""What people enter: entities, customers, hardware, power, prices. One table, two routes a line."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from ledger.api.access import ADMIN, HOUSE, READERS
from ledger.api.answer import answer, check_limit, from_cursor, page, to_cursor
from ledger.api.session import read_body, read_object, reading, working, write
from ledger.domain.author import Author
from ledger.domain.errors import InvalidInputError
from ledger.flows import enter
from ledger.flows.keys import create_api_key, revoke_api_key
from ledger.store import api_reads
from ledger.store.keys import list_api_keys
from ledger.store.queries import Connection
from ledger.wire import inputs as models
from ledger.wire.inputs import InputModel, read_input
from ledger.wire.rfc3339 import parse_rfc3339

LIST_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of slow fact: where, who reads it, how it is entered and listed.

    `dated` ones may replace what is recorded for the same time, with `?replace=true`.
    """

    path: str
    model: type[InputModel]
    enter: Callable[..., Awaitable[Any]]
    listed: str
    readers: frozenset[str] = HOUSE
    dated: bool = False
    limited: bool = False


RESOURCES = (
    Resource("entities", models.NewEntity, enter.enter_entity, "list_entities", READERS),
    Resource("aliases", models.NewAlias, enter.enter_alias, "list_aliases", dated=True),
    Resource("facilities", models.NewFacility, enter.enter_facility, "list_facilities"),
    Resource("pues", models.NewPue, enter.enter_pue, "list_pues", dated=True),
    Resource("assets", models.NewAsset, enter.enter_asset, "list_assets", dated=True),
    Resource("tariffs", models.NewTariff, enter.enter_tariff, "list_tariffs"),
    Resource(
        "deployments", models.NewDeployment, enter.enter_deployment, "list_deployments", dated=True
    ),
    Resource("rate-cards", models.NewRateCard, enter.enter_rate_card, "list_rate_cards", READERS),
    Resource(
        "subscriptions",
        models.NewSubscription,
        enter.enter_subscription,
        "list_subscriptions",
        READERS,
        dated=True,
    ),
    Resource(
        "fx-rates",
        models.NewFxRates,
        enter.enter_fx_rates,
        "list_fx_rates",
        dated=True,
        limited=True,
    ),
)


def _routes(resource: Resource) -> tuple[HTTPRouteHandler, HTTPRouteHandler]:
    name = resource.path.replace("-", "_")

    @post(f"/v1/{resource.path}", roles=HOUSE, operation_id=f"enter_{name}")
    async def enter_one(
        request: Request[Any, Any, Any], replace: FromQuery[bool] = False
    ) -> Response[bytes]:
        new = await read_body(request, resource.model)
        options = {"replace": replace} if resource.dated else {}

        async def work(connection: Connection, author: Author) -> dict[str, Any]:
            return {"id": await resource.enter(connection, new, author, **options)}

        return await write(request, work)

    @get(f"/v1/{resource.path}", roles=resource.readers, operation_id=f"list_{name}")
    async def list_all(request: Request[Any, Any, Any]) -> Response[bytes]:
        given = {"limit": LIST_LIMIT} if resource.limited else {}
        async with reading(request) as connection:
            rows = await api_reads.list_rows(connection, resource.listed, **given)
        return answer({"items": rows, "next": None})

    return enter_one, list_all


@post("/v1/customers", roles=HOUSE)
async def enter_customer(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Add a customer; usage that named it before waits in suspense until released."""
    new = await read_body(request, models.NewCustomer)

    async def work(connection: Connection, author: Author) -> dict[str, Any]:
        return {"id": await enter.enter_customer(connection, new, author)}

    return await write(request, work)


@get("/v1/customers", roles=READERS)
async def list_customers(
    request: Request[Any, Any, Any],
    entity: FromQuery[str | None] = None,
    limit: FromQuery[int] = 100,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """Customers by id; a customer key sees itself."""
    place = from_cursor(cursor, str)
    async with reading(request) as connection:
        rows = await api_reads.list_rows(
            connection,
            "list_customers",
            entity_id=entity,
            after=place[0] if place else None,
            limit=check_limit(limit) + 1,
        )
    return answer(page(rows, limit, "customer_id"))


@post("/v1/tariffs/{tariff_id:str}/prices", roles=HOUSE)
async def enter_tariff_prices(
    request: Request[Any, Any, Any], tariff_id: FromPath[str], replace: FromQuery[bool] = False
) -> Response[bytes]:
    """Add prices of a tariff, a year of quarter hours at most in one go."""
    body = {**await read_object(request), "tariff_id": tariff_id}
    new = read_input(models.NewTariffPrices, body)

    async def work(connection: Connection, author: Author) -> dict[str, Any]:
        return {"added": await enter.enter_tariff_prices(connection, new, author, replace=replace)}

    return await write(request, work)


@get("/v1/tariffs/{tariff_id:str}/prices", roles=HOUSE)
async def list_tariff_prices(
    request: Request[Any, Any, Any],
    tariff_id: FromPath[str],
    limit: FromQuery[int] = 100,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """Prices of a tariff, oldest first."""
    place = from_cursor(cursor, str)
    after = parse_rfc3339(place[0]) if place else None
    async with reading(request) as connection:
        rows = await api_reads.list_rows(
            connection,
            "list_tariff_prices",
            tariff_id=tariff_id,
            after=after,
            limit=check_limit(limit) + 1,
        )
    more = len(rows) > limit
    shown = rows[:limit]
    return answer({"items": shown, "next": to_cursor(shown[-1]["start"]) if more else None})


@post("/v1/rate-cards/{rate_card_id:str}/prices", roles=HOUSE)
async def enter_price(
    request: Request[Any, Any, Any], rate_card_id: FromPath[str], replace: FromQuery[bool] = False
) -> Response[bytes]:
    """Add a price to a card; usage that waited for it is billed by the next rating."""
    new = read_input(models.NewPrice, {**await read_object(request), "rate_card_id": rate_card_id})

    async def work(connection: Connection, author: Author) -> dict[str, Any]:
        return {"id": await enter.enter_price(connection, new, author, replace=replace)}

    return await write(request, work)


@get("/v1/rate-cards/{rate_card_id:str}/prices", roles=READERS)
async def list_prices(
    request: Request[Any, Any, Any], rate_card_id: FromPath[str]
) -> Response[bytes]:
    """Prices of a card as recorded now."""
    async with reading(request) as connection:
        rows = await api_reads.list_rows(connection, "list_prices", rate_card_id=rate_card_id)
    return answer({"items": rows, "next": None})


@post("/v1/keys", roles=ADMIN)
async def create_key(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Make an API key; its text is in this answer and nowhere else."""
    if "idempotency-key" in request.headers:
        raise InvalidInputError(
            "A key's secret is shown once and never stored.", "Leave out Idempotency-Key."
        )
    new = await read_body(request, models.NewApiKey)

    async def work(connection: Connection, author: Author) -> dict[str, Any]:
        made = await create_api_key(connection, new, author)
        return {"key_id": made.key_id, "key": made.text}

    return await write(request, work)


@get("/v1/keys", roles=ADMIN)
async def list_keys(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Keys without their secrets."""
    async with working(request) as connection:
        keys = await list_api_keys(connection)
    shown = ("key_id", "role", "name", "entity_id", "customer_id", "sources", "customers", "tier")
    items = [
        {name: getattr(key, name) for name in (*shown, "created_at", "revoked_at")} for key in keys
    ]
    return answer({"items": items, "next": None})


@post("/v1/keys/{key_id:str}/revocation", roles=ADMIN)
async def revoke_key(request: Request[Any, Any, Any], key_id: FromPath[str]) -> Response[bytes]:
    """Revoke a key for good."""

    async def work(connection: Connection, author: Author) -> dict[str, Any]:
        await revoke_api_key(connection, key_id, author)
        return {"key_id": key_id, "revoked": True}

    return await write(request, work, status=200)


HANDLERS: tuple[HTTPRouteHandler, ...] = (
    *(handler for resource in RESOURCES for handler in _routes(resource)),
    enter_customer,
    list_customers,
    enter_tariff_prices,
    list_tariff_prices,
    enter_price,
    list_prices,
    create_key,
    list_keys,
    revoke_key,
)
