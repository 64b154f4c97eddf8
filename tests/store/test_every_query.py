"""Every query of the store is understood by the schema as it stands."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from ledger.store.queries import Connection, load_queries

STORE = Path(str(files("ledger.store")))
FILES = sorted(str(path.relative_to(STORE).with_suffix("")) for path in STORE.rglob("*.sql"))


def test_there_are_queries_to_look_at() -> None:
    assert {"metering/ingest", "books/journal", "keys"} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
async def test_every_query_of_a_file_prepares_for_the_worker(worker: Connection, name: str) -> None:
    refused = {}
    for query in load_queries(name).values():
        try:
            await worker.prepare(query.sql)
        except Exception as error:
            refused[query.name] = str(error)
    assert refused == {}


def test_every_query_that_is_named_is_there() -> None:
    texts = [path.read_text() for path in STORE.rglob("*.py")]
    named = {
        constant: name
        for text in texts
        for constant, name in re.findall(r'(\w+) = load_queries\("([^"]+)"\)', text)
    }
    asked = [
        (named[constant], query)
        for text in texts
        for constant, query in re.findall(r'\b([A-Z]+)\["(\w+)"\]', text)
        if constant in named
    ]
    assert len(asked) > 100
    assert [(name, query) for name, query in asked if query not in load_queries(name)] == []
