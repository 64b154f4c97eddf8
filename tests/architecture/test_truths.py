"""What is true at a cut-off and what the numbers of a fact mean is said in one file of SQL."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAID_IN = "at_cut_off.sql"
# `check` proves the books and says for itself which revision stands: it shares nothing with what
# it proves. So do the tests that ask in Python.
PROVING = frozenset({"check_books.sql", "check_costs.sql", "check_periods.sql"})
LATEST = re.compile(
    r"\bDISTINCT\s+ON\b.*\brevision\s+DESC|\brevision\s+DESC\s+LIMIT\s+1\b", re.I | re.S
)
REVISED = re.compile(r"\b(cost_allocation|cost_pool|meter_window)\b")
NUMBER = re.compile(r"\bkind\s*(?:=|<>|!=|IN\s*\()\s*\d|\bflags\s*(?:&|\||>>)\s*\d", re.I)


def said_again(text: str) -> Iterator[str]:
    """Statements that pick a latest revision themselves, and numbers of facts without a name."""
    bare = re.sub(r"--.*", "", re.sub(r"-- name:.*", ";", text))
    for statement in bare.split(";"):
        if LATEST.search(statement) and REVISED.search(statement):
            yield " ".join(statement.split())[:80]
        yield from NUMBER.findall(statement)


def files() -> list[Path]:
    folders = ("ledger", "migrations", "benchmarks", "tests")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.sql"))]


def test_a_truth_is_said_once() -> None:
    looked = [path for path in files() if path.name not in PROVING | {SAID_IN}]
    assert len(looked) > 50
    found = {path.name: list(said_again(path.read_text())) for path in looked}
    assert not {name: each for name, each in found.items() if each}


@pytest.mark.parametrize("name", [SAID_IN, *PROVING])
def test_files_that_may_say_it_do(name: str) -> None:
    (path,) = [path for path in files() if path.name == name]
    assert list(said_again(path.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT DISTINCT ON (a, b) c.*\n  FROM cost_pool c ORDER BY a, b, c.revision DESC;",
        "WITH l AS (SELECT DISTINCT  ON (a) * FROM meter_window ORDER BY revision desc) SELECT",
        "SELECT * FROM cost_pool p WHERE x ORDER BY p.revision DESC\n LIMIT 1;",
        "SELECT 1 FROM usage_fact f WHERE f.kind <> 2",
        "SELECT 1 FROM usage_fact WHERE kind IN (1, 3)",
        "SELECT flags & 1024 FROM usage_fact",
        "SELECT (f.flags >> 8) & 3 FROM usage_fact f",
    ],
)
def test_rule_finds_what_is_said_again(text: str) -> None:
    assert list(said_again(text))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM pools_at(:batch_seq) c ORDER BY c.revision DESC;",
        "SELECT DISTINCT ON (n) n FROM correction ORDER BY n, revision DESC;",
        "-- name: a\nSELECT DISTINCT ON (n) 1 FROM cost_pool\n-- name: b\nORDER BY revision DESC",
        "-- DISTINCT ON (cost_pool) revision DESC; kind <> 2",
        "SELECT NOT is_reversal(f.kind) AND kind = 'usage' AND kind BETWEEN 1 AND 4",
    ],
)
def test_rule_lets_the_rest_pass(text: str) -> None:
    assert not list(said_again(text))
