"""Rules of the house over one source each; every rule yields what breaks it."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from typing import TypeGuard

from tests.architecture.sources import Function, Source, length

FUNCTION_LINES_MAX = 70
FUNCTION_LINES_AIM = 30
FILE_LINES_MAX = 500
SQL = re.compile(
    r"^\s*(SELECT\s|INSERT\s+INTO\s|DELETE\s+FROM\s|UPDATE\s+\w+\s+SET\s|WITH\s+\w+\s+AS\s*\("
    r"|(CREATE|ALTER|DROP)\s+(TABLE|DATABASE|ROLE|INDEX|SCHEMA|FUNCTION)\s|COPY\s+\w+\s*\()",
    re.MULTILINE,
)
CLOCKS = {
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "time": {"time", "time_ns", "localtime", "gmtime"},
}
CLOCK_FILES = ("ledger/clock.py", "collectors/clock.py")
UNOWNED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def too_long_functions(source: Source) -> Iterator[str]:
    """Functions over the hard limit."""
    for function in source.functions():
        if (lines := length(function)) > FUNCTION_LINES_MAX:
            yield source.at(
                function, f"{function.name} has {lines} lines, {FUNCTION_LINES_MAX} at most"
            )


def too_long_files(source: Source) -> Iterator[str]:
    """Files over the hard limit."""
    if source.lines > FILE_LINES_MAX:
        yield f"{source.path}: {source.lines} lines, {FILE_LINES_MAX} at most"


def share_of_long_functions(functions: list[Function]) -> float:
    """The share of functions longer than nine in ten should be."""
    long = sum(length(function) > FUNCTION_LINES_AIM for function in functions)
    return long / len(functions) if functions else 0.0


def floats(source: Source) -> Iterator[str]:
    """Float literals, `float` and true division; `# exact: why` allows a division of decimals."""
    lines = source.text.splitlines()
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield source.at(node, f"float literal {node.value}")
        elif isinstance(node, ast.Name) and node.id == "float":
            yield source.at(node, "the float type")
        elif _divides(node) and "# exact: " not in lines[node.lineno - 1]:
            yield source.at(node, "true division")


def _divides(node: ast.AST) -> TypeGuard[ast.BinOp | ast.AugAssign]:
    return isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)


def asynchronous(source: Source) -> Iterator[str]:
    """Anything that waits."""
    for node in source.nodes:
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncWith | ast.AsyncFor):
            yield source.at(node, "async")
        elif isinstance(node, ast.Await):
            yield source.at(node, "await")


def sql_strings(source: Source) -> Iterator[str]:
    """SQL text in Python; docstrings are prose."""
    prose = {id(text) for text in _docstrings(source.tree)}
    for node in source.nodes:
        if not isinstance(node, ast.Constant) or id(node) in prose:
            continue
        if isinstance(node.value, str) and SQL.search(node.value):
            yield source.at(node, f"SQL in a string: {node.value.strip()[:40]!r}")


def clock_reads(source: Source) -> Iterator[str]:
    """Reading the wall clock, outside the two files that may; `monotonic` measures and is free."""
    if source.path in CLOCK_FILES:
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS.get(_owner(node), ()):
            yield source.at(node, f"{_owner(node)}.{node.attr} reads the clock")
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            for name in node.names:
                if name.name in CLOCKS["time"]:
                    yield source.at(node, f"time.{name.name} reads the clock")


def imports_of(source: Source, library: str) -> bool:
    """Whether this file imports `library` or something inside it."""
    for node in source.nodes:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        if any(name == library or name.startswith(f"{library}.") for name in names):
            return True
    return False


def unowned(source: Source) -> Iterator[str]:
    """Comments that promise work to nobody."""
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and UNOWNED.search(token.string):
            yield f"{source.path}:{token.start[0]}: {token.string}"


def _owner(node: ast.Attribute) -> str:
    # `dt.datetime.now` and `datetime.now` alike: the name just before the dot.
    value = node.value
    if isinstance(value, ast.Attribute):
        return value.attr
    return value.id if isinstance(value, ast.Name) else ""


def _docstrings(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
