"""The house in figures: `python -m tests.architecture.figures` prints them."""

import ast
import re
from collections.abc import Iterable
from statistics import median, quantiles

from tests.architecture.rows import STORE
from tests.architecture.sources import SHIPPED, Source, length, sources

# What types do not say: each may only become fewer.
LOOSE = {
    "Any": re.compile(r"\bAny\b"),
    "Record": re.compile(r"\basyncpg\.Record\b"),
    # Those of types: a column that is cast becomes another.
    "cast": re.compile(r"(?<![.\w])cast\("),
    "ignore": re.compile(r"# type: ignore"),
}


def count_loose(shipped: Iterable[Source]) -> dict[str, int]:
    """How often what types do not say stands in these sources, imports not counted; rows of the
    database outside the store."""
    counts = dict.fromkeys(LOOSE, 0)
    for source in shipped:
        lines = _code(source)
        for name, words in LOOSE.items():
            if name == "Record" and source.path.startswith(STORE):
                continue
            counts[name] += sum(len(words.findall(line)) for line in lines)
    return counts


def _code(source: Source) -> list[str]:
    """Lines without docstrings and imports."""
    prose: set[int] = set()
    for node in source.nodes:
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_text(node):
            assert isinstance(node, ast.stmt)
            prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = source.text.splitlines()
    return [line for number, line in enumerate(lines, 1) if number not in prose]


def _is_text(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return False
    return isinstance(node.value.value, str)


def spread(values: list[int]) -> tuple[int, int]:
    """Median and 90th percentile."""
    return int(median(values)), int(quantiles(values, n=10)[-1])


def figures() -> dict[str, str]:
    """What is counted, by name."""
    shipped, tests = sources(*SHIPPED), sources("tests")
    functions = [length(function) for source in shipped for function in source.functions()]
    lines = sum(source.lines for source in shipped)
    tested = sum(source.lines for source in tests)
    middle = "median {} lines, nine in ten up to {}"
    return {
        "files": f"{len(shipped):,}, {lines:,} lines",
        "a function": middle.format(*spread(functions)),
        "a file": middle.format(*spread([source.lines for source in shipped])),
        **{name: f"{count:,}" for name, count in count_loose(shipped).items()},
        "lines of tests": f"{tested:,}, {tested / lines:.2f} a line of source",
    }


if __name__ == "__main__":
    for name, said in figures().items():
        print(f"{name:15} {said}")
