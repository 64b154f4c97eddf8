"""An advisory lock is named: locks.sql is the only file that writes one as a number."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = "locks.sql"
# A lock taken, or looked for, by a number; the one key of a batch number is a value, no literal.
NUMBERED = re.compile(
    r"advisory_(?:xact_)?(?:un)?lock(?:_shared)?\s*\(\s*\d|\bclassid\s*=\s*\d|\bobjid\s*=\s*[1-9]"
)


def numbered(text: str) -> list[str]:
    return NUMBERED.findall(text)


def files() -> Iterator[Path]:
    for folder in ("ledger", "migrations", "collectors", "benchmarks"):
        for suffix in ("sql", "py"):
            yield from (ROOT / folder).rglob(f"*.{suffix}")


def test_no_lock_is_a_number_but_in_the_file_that_names_them() -> None:
    looked = [path for path in files() if path.name != NAMES]
    assert len(looked) > 100
    assert [path.name for path in looked if numbered(path.read_text())] == []


@pytest.mark.parametrize(
    "text",
    [
        "SELECT pg_advisory_lock(1, 3)",
        "PERFORM pg_advisory_xact_lock_shared( 1, 3);",
        "SELECT pg_try_advisory_xact_lock(7)",
        "SELECT pg_advisory_unlock_shared(1, 1)",
        "WHERE l.classid = 1 AND l.objid = 3",
    ],
)
def test_rule_finds_a_number(text: str) -> None:
    assert numbered(text)


@pytest.mark.parametrize(
    "text",
    ["pg_advisory_lock(lock_class('gate'), 0)", "pg_advisory_xact_lock(drawn)", "l.objid = 0"],
)
def test_rule_lets_names_pass(text: str) -> None:
    assert not numbered(text)
