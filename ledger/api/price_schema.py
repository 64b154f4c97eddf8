"""Prices in the OpenAPI document: a union on `kind`, each kind with the fields that it takes."""

from collections.abc import Iterator
from typing import Any, TypeAlias

from ledger.wire.price_inputs import PRICE_FIELDS, kind_of_price

Schema: TypeAlias = dict[str, Any]


def unions_of_kinds(schemas: Schema, ref: str) -> Iterator[tuple[str, Schema]]:
    """The schemas of prices anew, and one for each kind of them, by name."""
    kinds = list(PRICE_FIELDS)
    for name, schema in schemas.items():
        if schema.get("properties", {}).get("kind", {}).get("enum") != kinds:
            continue
        names = {kind: f"{name}{kind.title().replace('_', '')}" for kind in kinds}
        refs = {kind: ref + each for kind, each in names.items()}
        yield (
            name,
            {
                **{key: schema[key] for key in ("title", "description")},
                "oneOf": [{"$ref": each} for each in refs.values()],
                "discriminator": {"propertyName": "kind", "mapping": refs},
            },
        )
        for kind, each in names.items():
            yield each, _of_kind(schema, kind, each)


def _of_kind(schema: Schema, kind: str, title: str) -> Schema:
    said, known = kind_of_price(kind), schema["properties"]
    # What a price is of stands in some bodies, and in others in the path.
    others = set(schema["required"]) - {"meter", "valid_from"}
    required = [name for name in known if name in said.required | others]
    properties = {
        name: _needed(each) if name in required else each
        for name, each in known.items()
        if name in said.required | said.optional | others
    }
    meters = {"const": said.meters[0]} if len(said.meters) == 1 else {"enum": [*said.meters]}
    properties["meter"] = {"type": "string", **meters}
    properties["kind"] = {"type": "string", "const": kind}
    return {
        **{"type": "object", "title": title, "properties": properties, "required": required},
        "additionalProperties": False,
    }


def _needed(schema: Schema) -> Schema:
    """What may not be left out: neither null nor empty."""
    said = {key: value for key, value in schema.items() if key not in {"default", "anyOf"}}
    choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if len(choices) == 1:
        said |= choices[0]
    elif choices:
        said["anyOf"] = choices
    return said | ({"minItems": 1} if said.get("type") == "array" else {})
