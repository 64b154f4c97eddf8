"""Holds every answer that a test gets to the OpenAPI document: its status, fields and values.

The document says the one form of times and decimals; a float is none of its types.
"""

import json
import re
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import jsonschema_rs
from httpx import Response

from ledger.api.app import create_app
from ledger.api.openapi import document
from ledger.settings import Settings

DOCUMENT = document(create_app(Settings()))
_PATHS = [
    (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), methods)
    for path, methods in DOCUMENT["paths"].items()
]
_DOCUMENTS = jsonschema_rs.Registry([("urn:document", DOCUMENT)])


def _pointed(name: str) -> str:
    """A name as a reference has it."""
    return quote(name.replace("~", "~0").replace("/", "~1"))


_PLACES = {
    said["operationId"]: f"urn:document#/paths/{_pointed(path)}/{method}"
    for path, methods in DOCUMENT["paths"].items()
    for method, said in methods.items()
}


def hold(response: Response) -> None:
    """AssertionError where an answer is not as the document says of its operation."""
    request = response.request
    said = _operation(request.method.lower(), request.url.raw_path.partition(b"?")[0].decode())
    if said is None or response.status_code == 405:
        return
    response.read()
    where = f"{said['operationId']} answered {response.status_code}: {response.text[:400]}"
    assert str(response.status_code) in said["responses"], where
    media = response.headers.get("content-type", "").partition(";")[0]
    content = said["responses"][str(response.status_code)]["content"]
    assert media in content, f"{where} as {media}"
    if "json" in media:
        value = json.loads(response.text, parse_float=_no_float)
        problems = _validator(said["operationId"], str(response.status_code), media)
        found = [str(error) for error in problems.iter_errors(value)]
        assert not found, f"{where}: {found[:3]}"


def _no_float(text: str) -> Any:
    raise AssertionError(f"a float in an answer: {text}")


def _operation(method: str, path: str) -> Any:
    # A path without places comes before one of which it is an example.
    found = [
        methods[method]
        for path_of, methods in _PATHS
        if path_of.fullmatch(path) and method in methods
    ]
    return (
        min(found, key=lambda said: sum(p["in"] == "path" for p in said["parameters"]))
        if found
        else None
    )


@lru_cache(None)
def _validator(name: str, status: str, media: str) -> Any:
    # It refers to the document: with a copy of what is in it, it took 25 times as long to make.
    place = f"{_PLACES[name]}/responses/{status}/content/{_pointed(media)}/schema"
    return jsonschema_rs.validator_for({"$ref": place}, registry=_DOCUMENTS)
