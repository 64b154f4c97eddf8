"""The OpenAPI document, made of the routes and of the table of what they take and answer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from litestar import Litestar, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from pydantic import BaseModel, TypeAdapter

from ledger.api.access import PUBLIC
from ledger.api.answer import JSON, encode
from ledger.api.contract import CLOUDEVENT, CONTRACTS, REFERRED, Contract
from ledger.api.examples import EXAMPLES
from ledger.api.parameters import ROW_MAX, TEXT_CHARS_MAX, Parameter, parameters_of
from ledger.api.price_schema import Schema, unions_of_kinds
from ledger.api.problems import PROBLEM_JSON, TITLES
from ledger.api.request import ApiRequest
from ledger.api.session import KEY_MAX
from ledger.wire.events import UsageEvent
from ledger.wire.fields import NAME_CHARS_MAX
from ledger.wire.preview_answers import ChangePreview

REF = "#/components/schemas/"
KINDS: Mapping[type, str] = {str: "string", int: "integer", bool: "boolean"}
WRITES = ("post", "patch")
# One word has one meaning wherever it is asked.
MEANINGS: Mapping[str, str] = {
    "entity": "Id of a legal entity.",
    "customer": "Id of a customer; a customer key sees its own alone.",
    "since": "RFC 3339; the first moment of the period.",
    "until": "RFC 3339; the first moment after it.",
    "at": "RFC 3339; only what holds at this moment.",
    "limit": "How many rows, 1 to 1000.",
    "cursor": "The `next` of the page before.",
    "replace": "Supersede what is recorded of the same time.",
    "preview": "Enter nothing, and answer what it would move in the books.",
    "by": "Dimensions, parted by commas.",
    "time_zone": "IANA time zone of days and hours.",
    "csv": "All rows as CSV, instead of a page of them as JSON.",
    "raw": "Leave text as it is that a spreadsheet would take for a formula.",
    "key": "Its id; a slash in it is sent as %2F.",
    "step": "hour or day.",
    "cost_scope": "What a cost is of, as reports of energy and cost name it: deployment:chat.",
    "line": "usage, idle, unattributed or unclaimed; without it all of them.",
    "usage_key": "One usage, as the lines say its key; without it all of them.",
}


def document(app: Litestar) -> Schema:
    """The whole document of an application."""
    operations = list(_operations(app))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tokenledger",
            "version": "1",
            "description": "The books of a token factory. Decimals are text, times RFC 3339.",
        },
        "servers": [{"url": "/"}],
        "paths": _paths(operations),
        "components": {
            "schemas": _schemas(CONTRACTS[name] for _, _, name, _ in operations),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, tlk_…; each operation names the roles it is for.",
                }
            },
        },
    }


@get("/schema/openapi.json", roles=PUBLIC, include_in_schema=False)
async def show_document(request: ApiRequest) -> Response[bytes]:
    """The OpenAPI document of this API."""
    return Response(encode(document(request.app)), media_type=JSON)


Operation = tuple[str, str, str, HTTPRouteHandler]


def _operations(app: Litestar) -> Iterator[Operation]:
    """(path, method, operation id, handler) of everything that is to be seen."""
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            if handler.include_in_schema is False or handler.http_methods == {"OPTIONS"}:
                continue
            for method in sorted(handler.http_methods - {"OPTIONS"}):
                yield route.path_format, method.lower(), _name(handler), handler


def _name(handler: HTTPRouteHandler) -> str:
    return str(handler.operation_id or handler.fn.__name__)


def _paths(operations: Sequence[Operation]) -> Schema:
    paths: dict[str, Schema] = {}
    for path, method, name, handler in operations:
        paths.setdefault(path, {})[method] = _operation(path, method, name, handler)
    return paths


def _operation(path: str, method: str, name: str, handler: HTTPRouteHandler) -> Schema:
    contract, roles = CONTRACTS[name], handler.opt["roles"]
    text = handler.fn.__doc__ or name.replace("_", " ").capitalize() + "."
    summary, _, rest = text.partition("\n")
    who = "" if roles is PUBLIC else f"For keys of role {', '.join(sorted(roles))}."
    parameters = [_parameter(path, each) for each in parameters_of(handler)]
    said = {
        "operationId": name,
        "tags": [path.split("/")[2] if path.startswith("/v1/") else "operations"],
        "summary": summary.strip(),
        "description": " ".join(f"{rest} {who}".split()),
        "parameters": parameters + (_headers(name) if method in WRITES else []),
        "security": [] if roles is PUBLIC else [{"key": []}],
        "responses": _responses(method, handler, contract),
    }
    body = _body(contract)
    return {**said, "requestBody": body} if body else said


def _parameter(path: str, each: Parameter) -> Schema:
    in_path = f"{{{each.name}}}" in path
    schema: Schema = {"type": KINDS[each.kind]}
    if each.kind is str:
        schema |= {"minLength": int(in_path), "maxLength": _longest(in_path)}
    if each.kind is int:
        schema |= {"minimum": 0, "maximum": ROW_MAX} if in_path else {"minimum": 1, "maximum": 1000}
    if each.default is not None:
        schema["default"] = each.default
    if each.name in {"since", "until", "at"}:
        schema["format"] = "date-time"
    return {
        "name": each.name,
        "in": "path" if in_path else "query",
        "required": in_path or each.required,
        "description": MEANINGS.get(each.name, f"Its {each.name.replace('_', ' ')}."),
        "schema": schema,
    }


def _longest(in_path: bool) -> int:
    return NAME_CHARS_MAX if in_path else TEXT_CHARS_MAX


def _headers(name: str) -> list[Schema]:
    said = [("X-Reason", "Kept with what is written.", 1_000)]
    # Events have ids of their own, and a secret is never kept.
    if name not in {"post_events", "create_key", "make_webhook_secret", "preview"}:
        said.append(("Idempotency-Key", "The same key and body are answered as before.", KEY_MAX))
    return [
        {
            "name": header,
            "in": "header",
            "required": False,
            "description": about,
            "schema": {"type": "string", "maxLength": most, "pattern": "^[ -~]*$"},
        }
        for header, about, most in said
    ]


def _body(contract: Contract) -> Schema | None:
    if contract.bodies is not None:
        content = {media: {"schema": schema} for media, schema in contract.bodies.items()}
        if CLOUDEVENT in content:
            content[CLOUDEVENT]["example"] = EXAMPLES[UsageEvent]
        return {"required": True, "content": content}
    if contract.body is None:
        return None
    said: Schema = {"schema": {"$ref": REF + _body_name(contract)}}
    if contract.body in EXAMPLES:
        said["example"] = EXAMPLES[contract.body]
    return {"required": True, "content": {JSON: said}}


def _body_name(contract: Contract) -> str:
    assert contract.body is not None
    return contract.body.__name__ + ("Body" if contract.without else "")


def _responses(method: str, handler: HTTPRouteHandler, contract: Contract) -> Schema:
    content = {media: {"schema": {"type": "string"}} for media in contract.media}
    if contract.answer is not None:
        content[JSON] = {"schema": _answer_schema(contract, contract.answer)}
    responses: Schema = {str(handler.status_code): {"description": "As asked.", "content": content}}
    if handler.opt.get("previews"):
        shown: Schema = {"$ref": REF + ChangePreview.__name__}
        if handler.status_code == 200:
            shown = {"anyOf": [content[JSON]["schema"], shown]}
        about = "With preview." if handler.status_code != 200 else "As asked, or with preview."
        responses["200"] = {"description": about, "content": {JSON: {"schema": shown}}}
    for status in _statuses(method, handler, contract):
        responses[str(status)] = {
            "description": TITLES[status],
            "content": {PROBLEM_JSON: {"schema": {"$ref": f"{REF}Problem"}}},
        }
    return responses


def _answer_schema(contract: Contract, answer: type[BaseModel]) -> Schema:
    row = {"$ref": REF + answer.__name__}
    if contract.listed:
        return _object(items={"type": "array", "items": row}, next=_maybe({"type": "string"}))
    if contract.shown:
        versions = {"type": "array", "items": row}
        return _object(id={"type": "string"}, now=_maybe(row), versions=versions)
    return row


def _object(**fields: object) -> Schema:
    closed = {"required": sorted(fields), "additionalProperties": False}
    return {"type": "object", "properties": fields, **closed}


def _maybe(schema: Mapping[str, object]) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _statuses(method: str, handler: HTTPRouteHandler, contract: Contract) -> list[int]:
    statuses = {422, 503, *contract.more}
    if handler.opt["roles"] is not PUBLIC:
        statuses |= {401, 403, 404, 409, 429}
    if method in WRITES:
        statuses |= {400, 408, 413}
    return sorted(statuses)


def _schemas(contracts: Iterable[Contract]) -> Schema:
    used = list(contracts)
    models: dict[str, type] = {each.__name__: each for each in REFERRED}
    for each in used:
        for model in (each.answer, each.body):
            if model is not None:
                models[model.__name__] = model
    _, defined = TypeAdapter.json_schemas(
        [(name, "validation", TypeAdapter(model)) for name, model in models.items()],
        ref_template=REF + "{model}",
    )
    schemas: Schema = dict(defined["$defs"])
    for each in used:
        if each.body is not None and each.without:
            name = _body_name(each)
            schemas[name] = _without(schemas[each.body.__name__], each.without, name)
    return schemas | dict(unions_of_kinds(schemas, REF))


def _without(schema: Mapping[str, Any], key: str, title: str) -> Schema:
    """A body whose key stands in the path."""
    properties = {name: value for name, value in schema["properties"].items() if name != key}
    required = [name for name in schema["required"] if name != key]
    return {**schema, "title": title, "properties": properties, "required": required}
