"""The document is the contract: it names all routes, its examples are taken, answers as it says."""

import json
import re
from typing import Any

import jsonschema_rs
import pytest

from ledger.api.app import create_app
from ledger.api.contract import CONTRACTS
from ledger.api.openapi import document
from ledger.settings import Settings
from tests.api.documented import DOCUMENT, OPERATIONS, Operation, path_of, send_examples
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
            check(one, answer.json())
            seen += 1
    # All but what is missing its costs, and what is no JSON.
    assert seen >= 40


def check(one: Operation, value: Any) -> None:
    said = one.said["responses"]["200"]["content"]["application/json"]["schema"]
    schema = {**said, "components": DOCUMENT["components"]}
    found = [str(error) for error in jsonschema_rs.validator_for(schema).iter_errors(value)]
    assert not found, (one.name, found[:3])
