"""Rules about names: one meaning each, and the field's own words."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from tests.architecture.sources import Source

# Words that say nothing of metering, energy, cost, pricing, billing or books.
FORBIDDEN = frozenset({"place", "claim", "room", "turn", "doubt"})
# What parameters and variables may not be called either: of anything, these say nothing.
FORBIDDEN_INSIDE = FORBIDDEN | {"one", "found"}
# In SQL a row of a list has a place.
FORBIDDEN_IN_SQL = FORBIDDEN - {"place"}
# A refusal says what was found instead, and an id may be that of another place.
SAID = {
    "ledger/wire/problem_answers.py": {"found"},
    "ledger/wire/errors.py": {"found", "FOUND_CHARS_MAX"},
    "ledger/domain/metering/fact.py": {"WRONG_PLACE"},
}
# What a provider says that it cost is a claim.
CLAIMED = frozenset({"provider_claim"})
# The same things in other forms: what is sent as an answer, and what lines are read into.
FORMS = re.compile(r"ledger/wire/(\w+_)?answers\.py|ledger/domain/metering/structs\.py")
# Comments and texts, in which words are prose.
SQL_PROSE = re.compile(r"--[^\n]*|'(?:[^']|'')*'")
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
PROPERTIES = {"property", "cached_property", "staticmethod", "classmethod"}
# What httptools calls of whoever reads with it.
CALLED = {"on_header", "on_headers_complete", "on_body", "on_message_complete"}


def classes_of_two_meanings(sources: Iterable[Source]) -> Iterator[str]:
    """Public classes of one name in several files; forms of one thing may share its name."""
    places: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(source.path)
    for name, paths in places.items():
        if len([path for path in paths if not FORMS.fullmatch(path)]) > 1:
            yield f"class {name} stands in {', '.join(paths)}"


def forbidden_words(source: Source) -> Iterator[str]:
    """Modules, classes, functions and fields that are named by a word of no field."""
    if found := _words(source.path.rpartition("/")[2].removesuffix(".py")) & FORBIDDEN:
        yield f"{source.path}: {', '.join(sorted(found))} names a module"
    for node, name in _named(source):
        if found := _words(name) & FORBIDDEN:
            yield source.at(node, f"{', '.join(sorted(found))} in {name}")


def forbidden_inside(source: Source) -> Iterator[str]:
    """Parameters and variables that are named by a word of no field."""
    said = SAID.get(source.path, set())
    for node, name in _bound(source):
        if name not in said and (found := _words(name) & FORBIDDEN_INSIDE):
            yield source.at(node, f"{', '.join(sorted(found))} in {name}")


def forbidden_in_sql(path: str, text: str) -> Iterator[str]:
    """Tables, columns and aliases of SQL that are named by a word of no field."""
    for name in sorted(set(re.findall(r"[a-z_]+", SQL_PROSE.sub("", text))) - CLAIMED):
        if found := _words(name) & FORBIDDEN_IN_SQL:
            yield f"{path}: {', '.join(sorted(found))} in {name}"


def only_tests_use(shipped: Iterable[Source]) -> Iterator[str]:
    """Public functions, classes, methods and constants that nothing shipped mentions but their own
    line."""
    sources = list(shipped)
    words = Counter(word for source in sources for word in re.findall(r"\w+", source.text))
    for source in sources:
        methods = [each for node in source.tree.body for each in _methods(node)]
        for node in [*source.tree.body, *methods]:
            for name in _defined(node):
                if not name.startswith("_") and words[name] == 1 and name not in CALLED:
                    yield source.at(node, f"nothing shipped uses {name}")


def _words(name: str) -> set[str]:
    return {word.lower().removesuffix("s") for word in WORDS.findall(name)}


def _named(source: Source) -> Iterator[tuple[ast.stmt, str]]:
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node, node.name
        if isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    yield field, field.target.id


def _bound(source: Source) -> Iterator[tuple[ast.expr | ast.arg, str]]:
    for node in source.nodes:
        if isinstance(node, ast.arg):
            yield node, node.arg
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node, node.id


def _methods(node: ast.stmt) -> list[ast.stmt]:
    # A class that extends another may define what that one calls.
    return node.body if isinstance(node, ast.ClassDef) and not node.bases else []


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        # What is decorated is used by what decorates it, but for a property.
        decorators = {ast.unparse(each) for each in node.decorator_list} - PROPERTIES
        return [] if decorators else [node.name]
    if isinstance(node, ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []
