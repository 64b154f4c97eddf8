"""Rows of the database stay in the store: what leaves it is a value, an array or a frame."""

import ast
import re
from collections.abc import Iterator
from functools import cache

from tests.architecture.sources import Function, Source, sources

STORE = "ledger/store/"
# Where rows are read and made values of; what else of the store takes rows is named with a `_`.
MECHANISM = frozenset(
    {"ledger/store/asking.py", "ledger/store/queries.py", "ledger/store/values.py"}
)
# A row, or what says no more than a row does.
ROW = re.compile(r"\bRecord\b|(\b[dD]ict|\bMapping)\[str, (Any|object)\]|^Any$|^object$")
QUERIES = frozenset({"Query", "Queries", "load_queries", "values_of"})
FETCHING = frozenset({"fetch", "fetchrow", "fetchval", "fetchmany", "cursor", "copy_from_query"})


def rows_that_leave(source: Source) -> Iterator[str]:
    """Public functions and methods of the store whose answer is a row, or says no more than one."""
    if not source.path.startswith(STORE) or source.path in MECHANISM:
        return
    for function in _public(source.tree):
        answer = "" if function.returns is None else ast.unparse(function.returns).strip("'\"")
        if ROW.search(answer):
            yield source.at(function, f"{function.name} gives {answer}")


def rows_that_are_taken(source: Source) -> Iterator[str]:
    """Rows, queries or statements outside the store."""
    if source.path.startswith(STORE):
        return
    for node in source.nodes:
        if isinstance(node, ast.ImportFrom):
            yield from _imported(source, node)
        elif isinstance(node, ast.Attribute) and _is_taken(ast.unparse(node)):
            yield source.at(node, ast.unparse(node))
        elif isinstance(node, ast.Constant) and "asyncpg.Record" in str(node.value):
            yield source.at(node, f"asyncpg.Record in {node.value!r}")
        elif isinstance(node, ast.Call) and (name := _called(node)) in FETCHING:
            yield source.at(node, f"{name} reads rows")


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _is_taken(name: str) -> bool:
    return name.startswith("asyncpg.") and not name.endswith("Error")


def _imported(source: Source, node: ast.ImportFrom) -> Iterator[str]:
    of_store = f"{node.module}".startswith("ledger.store")
    for name in node.names:
        if node.module == "asyncpg" and not name.name.endswith("Error"):
            yield source.at(node, f"asyncpg.{name.name}")
        elif of_store and (name.name in QUERIES or name.name in _loaded(node.module or "")):
            yield source.at(node, f"{name.name} of {node.module}")


@cache
def _loaded(module: str) -> frozenset[str]:
    """The sets of queries of a module of the store, by name."""
    path = f"{module.replace('.', '/')}.py"
    return frozenset(
        target.id
        for source in sources("ledger/store")
        if source.path == path
        for node in source.tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("load_queries(")
        for target in node.targets
        if isinstance(target, ast.Name)
    )


def _public(tree: ast.Module) -> Iterator[Function]:
    """Functions of the module and methods of its classes, but for those of its own."""
    bodies = [tree.body]
    while bodies:
        for node in bodies.pop():
            if isinstance(node, ast.ClassDef):
                bodies.append(node.body)
            elif isinstance(node, Function) and not node.name.startswith("_"):
                yield node
