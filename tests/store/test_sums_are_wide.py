"""No query narrows a sum to 64 bits, but for those that a bound named here keeps within them."""

import re
from collections.abc import Iterator

from ledger.store.queries import load_queries
from tests.store.test_every_query import FILES

ONE_BY_ONE = "a receipt counts items that were read one by one, and nobody reads 2^63 of them"
AMOUNTS = "amounts are numeric, which has no 64 bits to pass"
# Queries that cast a sum, or add within one, and why neither can pass 2^63.
BOUNDED = {
    "list_source_states": ONE_BY_ONE,
    "sum_receipts": ONE_BY_ONE,
    "count_quarantined": ONE_BY_ONE,
    "count_received": ONE_BY_ONE,
    "count_day_tables": "tables and indexes that there are",
    "count_offered": ONE_BY_ONE,
    "count_chunk_facts": "facts in chunks, each of which was stored",
    "sum_deployed_gpus": "numeric before it is multiplied or added up",
    "count_batches": "rows of a table, each of which was stored",
    "digest_batches": "rows of a table, each of which was stored",
    "read_usage_sums": "halves of 32 bits each: they pass 2^63 where a window has 2^31 rows",
    "read_mark_sums": "halves of 32 bits each, as in read_usage_sums",
    "fold_activity": "rows of which 64 bits might not hold a sum stay apart",
    "find_unbooked_bills": AMOUNTS,
    "list_work_hours": "no more is told than 2^63 - 1, which is as implausible as what is beyond",
    "sum_model_cost": AMOUNTS,
    "sum_usage_costs": AMOUNTS,
    "sum_efficiency": "numeric before it is added up or multiplied",
    "sum_producers": "parts of each of a million GPUs; all else is numeric before",
}
NARROW = r"::(?:bigint|int8|integer|int4|int|smallint)\b"


def narrowed(sql: str) -> Iterator[str]:
    """Parts in parentheses that hold a sum and are cast to fewer bits, or add up inside it."""
    for cast in re.finditer(rf"\){NARROW}", sql):
        inside = _closed_by(sql, cast.start())
        if re.search(r"\bsum\s*\(", inside):
            yield inside
    for begun in re.finditer(r"\bsum\s*\(", sql):
        inside = _opened_by(sql, begun.end() - 1)
        if re.match(r"[^()]*\s[+*]\s", sql[begun.end() :]) or re.search(rf"{NARROW}\)$", inside):
            yield inside[:60]


def _closed_by(sql: str, end: int) -> str:
    """What stands before a closing parenthesis, with the name of the function it closes."""
    depth = 0
    for at in range(end, -1, -1):
        depth += {")": 1, "(": -1}.get(sql[at], 0)
        if depth == 0:
            name = re.search(r"\w*\s*$", sql[:at])
            return sql[name.start() if name else at : end + 1]
    raise AssertionError(f"unbalanced: {sql[:end]}")


def _opened_by(sql: str, begin: int) -> str:
    """An opening parenthesis and all up to the one that closes it."""
    depth = 0
    for at in range(begin, len(sql)):
        depth += {"(": 1, ")": -1}.get(sql[at], 0)
        if depth == 0:
            return sql[begin : at + 1]
    raise AssertionError(f"unbalanced: {sql[begin:]}")


def test_a_narrowed_sum_is_found() -> None:
    assert list(narrowed("SELECT coalesce(sum(a) FILTER (WHERE b), 0)::bigint"))
    assert list(narrowed("SELECT sum(d.a + d.b) AS c"))
    assert list(narrowed("SELECT sum((d.a >> 32)::int) AS c"))
    assert not list(narrowed("SELECT sum(a), sum((p ->> 'x')::numeric), (:n)::bigint"))


def test_no_query_narrows_a_sum() -> None:
    found = {
        query.name: parts
        for room in FILES
        for query in load_queries(room).values()
        if (parts := list(narrowed(query.sql)))
    }
    assert found.keys() == BOUNDED.keys(), found
