"""The files the rules look at, parsed once."""

import ast
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SHIPPED = ("ledger", "collectors", "migrations", "benchmarks")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file: where it lies in the repository, its text, its tree and all its nodes."""

    path: str
    text: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...]

    @property
    def lines(self) -> int:
        """Lines of the file."""
        return len(self.text.splitlines())

    def functions(self) -> Iterator[Function]:
        """Every function and method, however deep."""
        for node in self.nodes:
            if isinstance(node, Function):
                yield node

    def at(self, node: ast.expr | ast.stmt | ast.arg, what: str) -> str:
        """A finding, with its place."""
        return f"{self.path}:{node.lineno}: {what}"


def parse(text: str, path: str = "ledger/domain/example.py") -> Source:
    """A source from its text, as the rules' own tests make them."""
    tree = ast.parse(text)
    return Source(path, text, tree, tuple(ast.walk(tree)))


def sources(*folders: str) -> tuple[Source, ...]:
    """Every Python file under these folders of the repository."""
    return tuple(source for folder in folders for source in _sources_in(folder))


@cache
def _sources_in(folder: str) -> tuple[Source, ...]:
    files = sorted((ROOT / folder).rglob("*.py"))
    parsed = tuple(parse(path.read_text(), path.relative_to(ROOT).as_posix()) for path in files)
    # Millions of nodes that stay: looking through them for rubbish takes longer than the rules.
    gc.freeze()
    return parsed


def length(function: Function) -> int:
    """Lines from the signature to the end of the body, the docstring not counted."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None and first.end_lineno is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines
