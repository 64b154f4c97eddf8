"""The document is the contract: it names all routes, its examples are taken, answers as it says."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ledger.api.app import create_app
from ledger.api.contract import CONTRACTS
from ledger.api.openapi import document
from ledger.domain.pricing.models import PRICE_MODELS
from ledger.settings import Settings
from ledger.wire.price_inputs import PRICE_FIELDS, SPELLED_OUT
from tests.api.documented import OPERATIONS, Operation, path_of, send_examples
from tests.api.held import DOCUMENT
from tests.api.served import Served


def test_it_names_what_the_table_does_and_nothing_twice() -> None:
    names = [one.name for one in OPERATIONS]
    assert sorted(names) == sorted(CONTRACTS)
    assert document(create_app(Settings())) == DOCUMENT


def test_everything_it_refers_to_is_there() -> None:
    said = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(DOCUMENT)))
    schemas = DOCUMENT["components"]["schemas"]
    assert said <= set(schemas)
    # A name of two models is written out by pydantic with the module of each.
    assert not [name for name in schemas if "__" in name]


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)
def test_each_operation_says_what_it_is_takes_and_answers(one: Operation) -> None:
    assert one.said["summary"]
    assert all(each["description"] for each in one.said["parameters"])
    for status, answer in one.said["responses"].items():
        assert answer["description"]
        assert answer["content"], (one.name, status)
    public = one.path in {"/healthz", "/readyz"}
    assert one.said["security"] == ([] if public else [{"key": []}])
    if one.name.startswith(("enter_", "change_")) or one.name in {"create_key", "post_events"}:
        assert any("example" in each for each in one.said["requestBody"]["content"].values())


@pytest.mark.parametrize("name", ["NewPriceBody", "PriceTerms"])
def test_a_price_has_the_fields_of_its_kind_and_no_others(name: str) -> None:
    schemas = DOCUMENT["components"]["schemas"]
    kinds = schemas[name]["discriminator"]["mapping"]
    assert kinds.keys() == PRICE_MODELS.keys() | {*SPELLED_OUT}
    assert [each["$ref"] for each in schemas[name]["oneOf"]] == [*kinds.values()]
    own = {kind: set(fields) for kind, fields in PRICE_FIELDS.items()}
    for kind, ref in kinds.items():
        _, shape = resolved({"$ref": ref})
        assert shape["properties"]["kind"]["const"] == kind
        assert shape["properties"].keys() & set.union(*own.values()) == own[kind]
        model = PRICE_MODELS.get(kind)
        fields = model.model_fields if model else {}
        needed = {n for n, field in fields.items() if field.is_required()}
        assert needed <= set(shape["required"]) <= shape["properties"].keys()
        assert not any("default" in shape["properties"][field] for field in shape["required"])


# Shown as others gave it: an event as it was sent, the terms of a price as its model has them.
AS_GIVEN = {
    *("WholeConflict.offered", "Price.params", "SiteCost.params", "Snapshot.prices"),
}


def test_every_field_of_every_answer_is_named_and_typed() -> None:
    found = set()
    for one in OPERATIONS:
        for status, answer in one.said["responses"].items():
            for content in answer["content"].values():
                found |= set(open_objects(content["schema"], f"{one.name} {status}"))
    assert found == AS_GIVEN


def test_all_money_has_a_currency_beside_it_or_around_it() -> None:
    found = [
        (one.name, path)
        for one in OPERATIONS
        for answer in one.said["responses"].values()
        for content in answer["content"].values()
        for path in without_currency(content["schema"], "", known=False)
    ]
    assert not found


def resolved(schema: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The name of a schema that is referred to, and the schema."""
    if "$ref" not in schema:
        return None, schema
    name = schema["$ref"].rpartition("/")[2]
    return name, DOCUMENT["components"]["schemas"][name]


def parts(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schemas inside one: of its fields, by their names, its items, values and choices."""
    yield from schema.get("properties", {}).items()
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield "", schema[key]
    for key in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(key, []):
            yield "", each


def open_objects(schema: dict[str, Any], path: str) -> Iterator[str]:
    """Where an object may have fields that are not named, or a value of no type."""
    name, schema = resolved(schema)
    path = name or path
    if schema.get("type") == "object" and schema.get("additionalProperties", True) is True:
        yield path
    if not schema.keys() & {"type", "anyOf", "oneOf", "allOf", "const", "enum"}:
        yield path
    for field, inner in parts(schema):
        yield from open_objects(inner, f"{path}.{field}" if field else path)


def without_currency(schema: dict[str, Any], path: str, *, known: bool) -> Iterator[str]:
    """Money whose currency neither its object nor one around it names."""
    _, schema = resolved(schema)
    known = known or "currency" in schema.get("properties", {})
    if schema.get("format") == "money" and not known:
        yield path
    for field, inner in parts(schema):
        yield from without_currency(inner, f"{path}.{field}", known=known)


async def test_its_examples_are_taken_and_its_answers_are_as_it_says(served: Served) -> None:
    for name, answer in send_examples(served):
        assert 200 <= answer.status_code < 300, (name, answer.text)
    seen = 0
    for one in OPERATIONS:
        if one.method != "get":
            continue
        answer = served.get(path_of(one), params=one.asked())
        assert str(answer.status_code) in one.said["responses"], (one.name, answer.text)
        if answer.status_code == 200 and answer.headers["content-type"] == "application/json":
            seen += 1
    # All but what is missing its costs, and what is no JSON.
    assert seen >= 40
