"""The worked examples in the core's docstrings say what the code does."""

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import ledger.domain

MODULES = [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(ledger.domain.__path__, "ledger.domain.")
]
WITH_EXAMPLES = [m for m in MODULES if any(t.examples for t in doctest.DocTestFinder().find(m))]


@pytest.mark.parametrize("module", WITH_EXAMPLES, ids=lambda module: module.__name__)
def test_examples_are_true(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_splits_prices_and_costs_have_an_example() -> None:
    shown = {module.__name__.removeprefix("ledger.domain.") for module in WITH_EXAMPLES}
    assert {
        "apportion",
        "money",
        "energy.tariff",
        "cost.margin",
        "pricing.models.per_unit",
    } <= shown
