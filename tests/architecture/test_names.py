"""One name, one meaning, and the field's own words; each rule can fail."""

import pytest

from tests.architecture import names
from tests.architecture.sources import ROOT, parse, sources

PRODUCT = ("ledger", "collectors")


def test_a_class_name_means_one_thing() -> None:
    assert not list(names.classes_of_two_meanings(sources(*PRODUCT)))


def test_names_are_the_words_of_the_field() -> None:
    found = [finding for source in sources(*PRODUCT) for finding in names.forbidden_words(source)]
    assert not found, "\n" + "\n".join(found)


def test_parameters_and_variables_are_the_words_of_the_field() -> None:
    found = [finding for source in sources(*PRODUCT) for finding in names.forbidden_inside(source)]
    assert not found, "\n" + "\n".join(found)


def test_sql_names_things_by_the_words_of_the_field() -> None:
    texts = [*ROOT.glob("ledger/**/*.sql"), *ROOT.glob("migrations/**/*.sql")]
    found = [
        finding
        for path in texts
        for finding in names.forbidden_in_sql(path.relative_to(ROOT).as_posix(), path.read_text())
    ]
    assert texts
    assert not found, "\n" + "\n".join(found)


def test_what_is_public_is_used_by_more_than_tests() -> None:
    found = list(names.only_tests_use(sources(*PRODUCT, "benchmarks", "migrations")))
    assert not found, "\n" + "\n".join(found)


def test_two_classes_of_one_name_are_found() -> None:
    here, there = parse("class Batch: ...", "ledger/a.py"), parse("class Batch: ...", "ledger/b.py")
    assert list(names.classes_of_two_meanings([here, there]))


def test_forms_of_one_thing_may_share_its_name() -> None:
    here = parse("class Party: ...", "ledger/domain/billing/party.py")
    sent = parse("class Party: ...", "ledger/wire/answers.py")
    private = parse("class _Party: ...", "ledger/b.py")
    assert not list(names.classes_of_two_meanings([here, sent, private, private]))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("ledger/flows/turn.py", "x = 1"),
        ("ledger/flows/x.py", "class FactPlace: ..."),
        ("ledger/flows/x.py", "def _make_room(): ..."),
        ("ledger/flows/x.py", "async def claim(): ..."),
        ("ledger/flows/x.py", "class A:\n    doubt: int"),
    ],
)
def test_words_of_no_field_are_found(path: str, text: str) -> None:
    assert list(names.forbidden_words(parse(text, path)))


@pytest.mark.parametrize(
    "text",
    [
        "def f(claim): ...",
        "def f(*, no_room=0): ...",
        "turn = 1",
        "for doubt in x: ...",
        "with x as turns: ...",
        "def f(one, other): ...",
        "found = []",
        "places = {}",
    ],
)
def test_parameters_and_variables_of_no_field_are_found(text: str) -> None:
    assert list(names.forbidden_inside(parse(text)))


@pytest.mark.parametrize("text", ["SELECT 1 AS room", "SELECT a.claims FROM turn a"])
def test_sql_of_no_field_is_found(text: str) -> None:
    assert list(names.forbidden_in_sql("a.sql", text))


def test_prose_in_sql_passes() -> None:
    text = "-- Who claims it.\nSELECT 'in turn' AS returned"
    assert not list(names.forbidden_in_sql("a.sql", text))


@pytest.mark.parametrize("text", ["def replace(): ...", "class Returned: ...", "def placed(): ..."])
def test_words_that_hold_them_pass(text: str) -> None:
    assert not list(names.forbidden_words(parse(text, "ledger/flows/x.py")))


@pytest.mark.parametrize(
    "text",
    [
        *("def f(): ...", "class A: ...", "MOST = 1"),
        *("class _A:\n  def f(self): ...", "class _A:\n  @property\n  def f(self): ..."),
    ],
)
def test_what_nothing_shipped_uses_is_found(text: str) -> None:
    assert list(names.only_tests_use([parse(text), parse("x = y")]))


@pytest.mark.parametrize(
    "text",
    [
        *("def f(): ...\n\n\nf()", "@command\ndef f(): ...", "def _f(): ..."),
        *("class _A(B):\n  def f(self): ...", "class _A:\n  @on\n  def f(self): ..."),
    ],
)
def test_what_is_used_decorated_or_private_passes(text: str) -> None:
    assert not list(names.only_tests_use([parse(text)]))
