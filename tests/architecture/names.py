"""Rules about names: one meaning each, and the field's own words."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from tests.architecture.sources import Source

# Words that say nothing of metering, energy, cost, pricing, billing or books.
FORBIDDEN = frozenset({"place", "claim", "room", "turn", "doubt"})
# The same things in other forms: what is sent as an answer, and what lines are read into.
FORMS = re.compile(r"ledger/wire/(\w+_)?answers\.py|ledger/domain/metering/structs\.py")
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


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
    for node, name in _named(source.tree):
        if found := _words(name) & FORBIDDEN:
            yield source.at(node, f"{', '.join(sorted(found))} in {name}")


def only_tests_use(shipped: Iterable[Source]) -> Iterator[str]:
    """Public functions, classes and constants that nothing shipped mentions but their own line."""
    sources = list(shipped)
    words = Counter(word for source in sources for word in re.findall(r"\w+", source.text))
    for source in sources:
        for node in source.tree.body:
            for name in _defined(node):
                if not name.startswith("_") and words[name] == 1:
                    yield source.at(node, f"nothing shipped uses {name}")


def _words(name: str) -> set[str]:
    return {word.lower().removesuffix("s") for word in WORDS.findall(name)}


def _named(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node, node.name
        if isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    yield field, field.target.id


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        # What is decorated is used by what decorates it.
        return [] if node.decorator_list else [node.name]
    if isinstance(node, ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []
