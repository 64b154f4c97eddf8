"""What types do not say becomes rarer, never more frequent."""

from functools import cache

import pytest

from tests.architecture.figures import LOOSE, count_loose
from tests.architecture.sources import SHIPPED, parse, sources

# Lower a number when it has fallen; none is ever raised.
MOST = {"Any": 347, "Record": 0, "cast": 5, "ignore": 19}


@pytest.mark.parametrize("name", LOOSE)
def test_no_more_of_what_types_do_not_say(name: str) -> None:
    assert _counts()[name] <= MOST[name]


@cache
def _counts() -> dict[str, int]:
    return count_loose(sources(*SHIPPED))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Any", "def f(x: dict[str, Any]) -> Any: ..."),
        ("Record", "def f(x: asyncpg.Record) -> list[asyncpg.Record]: ..."),
        ("cast", "x = cast(int, y)"),
        ("ignore", "x = y  # type: ignore[misc]"),
    ],
)
def test_ratchet_counts(name: str, text: str) -> None:
    counts = count_loose([parse(text)])
    assert counts.pop(name) == (1 if name in {"cast", "ignore"} else 2)
    assert not any(counts.values())


def test_ratchet_counts_neither_imports_nor_prose() -> None:
    text = (
        'from typing import Any, cast\n"""Any Record."""\n\n\ndef f() -> None:\n    """cast(x)"""\n'
    )
    assert not any(count_loose([parse(text)]).values())
