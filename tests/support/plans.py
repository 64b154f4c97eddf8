"""What PostgreSQL did to answer a named query: which tables it read, how, and how many pages."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.store.queries import Connection, Query


@dataclass(frozen=True, slots=True)
class Plan:
    """An executed plan; `pages` counts what was read, from cache or disk, once for each time."""

    root: Mapping[str, Any]

    @property
    def pages(self) -> int:
        """All pages of 8 KiB that the query touched."""
        return _pages(self.root)

    @property
    def rows(self) -> int:
        """Rows it returned."""
        return int(self.root["Actual Rows"])

    def scans(self, table: str) -> list[Mapping[str, Any]]:
        """Executed scans of a table or of its partitions."""
        return [
            node
            for node in _nodes(self.root)
            if str(node.get("Relation Name", "")).startswith(table) and node["Actual Loops"]
        ]

    def heap_pages(self, table: str) -> int:
        """Pages that scans of a table or of its partitions touched, their indexes' included."""
        return sum(_pages(node) for node in self.scans(table))

    def sequential(self, table: str) -> set[str]:
        """Tables or partitions that were read from end to end."""
        scans = self.scans(table)
        return {node["Relation Name"] for node in scans if "Seq Scan" in node["Node Type"]}

    @property
    def functions(self) -> set[str]:
        """Functions that were called for rows: what they do was not made part of the plan."""
        return {node["Function Name"] for node in _nodes(self.root) if "Function Name" in node}

    @property
    def late_filters(self) -> str:
        """What was asked of the rows of a query within only after it had found them."""
        subqueries = (n for n in _nodes(self.root) if n["Node Type"] == "Subquery Scan")
        return " ".join(node.get("Filter", "") for node in subqueries)

    def read_rows(self, table: str) -> dict[str, int]:
        """By table or partition, how many rows were looked at in it, those thrown away included."""
        found: dict[str, int] = {}
        for node in self.scans(table):
            thrown = node.get("Rows Removed by Filter", 0)
            thrown += node.get("Rows Removed by Index Recheck", 0)
            each = (node["Actual Rows"] + thrown) * node["Actual Loops"]
            found[node["Relation Name"]] = found.get(node["Relation Name"], 0) + round(each)
        return {name: rows for name, rows in found.items() if rows}


async def explain(
    connection: Connection, query: Query, *, generic: bool = False, **given: Any
) -> Plan:
    """Run a query and tell how.

    `generic`: by the plan for any arguments, which a statement asked for often comes to use.
    """
    options = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON)"
    arguments = [given[name] for name in query.parameters]
    if not generic:
        text = await connection.fetchval(f"{options} {query.sql}", *arguments)
        return Plan(json.loads(text)[0]["Plan"])
    literals = await _literals(connection, query, arguments)
    shown = f"({', '.join(literals)})" if literals else ""
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE guarded AS {query.sql}")
    try:
        text = await connection.fetchval(f"{options} EXECUTE guarded{shown}")
    finally:
        await connection.execute("DEALLOCATE guarded; RESET plan_cache_mode")
    return Plan(json.loads(text)[0]["Plan"])


async def _literals(connection: Connection, query: Query, arguments: list[Any]) -> list[str]:
    kinds = [kind.name for kind in (await connection.prepare(query.sql)).get_parameters()]
    return [
        f"{await connection.fetchval(f'SELECT quote_nullable($1::{kind}::text)', value)}::{kind}"
        for kind, value in zip(kinds, arguments, strict=True)
    ]


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _pages(node: Mapping[str, Any]) -> int:
    return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])
