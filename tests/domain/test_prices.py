"""What holds for every price model: its golden table, JSON there and back, a place in the table."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledger.domain.pricing.models
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import total
from ledger.domain.pricing.models import PRICE_MODELS, PriceModel, load_price

GOLDEN = Path(__file__).parents[1] / "golden" / "prices"
KINDS = pytest.mark.parametrize("kind", PRICE_MODELS)
QUANTITIES = st.integers(0, 10**15)


def golden(kind: str) -> dict[str, Any]:
    """Parameters, amounts by quantity, and whether parts may be priced one by one."""
    table: dict[str, Any] = json.loads((GOLDEN / f"{kind}.json").read_text(encoding="utf-8"))
    return table


def sample(kind: str) -> PriceModel:
    return load_price(kind, golden(kind)["params"])


@KINDS
def test_a_price_gives_its_golden_amounts(kind: str) -> None:
    table = golden(kind)["amounts"]
    assert len(table) >= 5
    for quantity, amount in table.items():
        assert sample(kind).price(int(quantity)) == Decimal(amount)


@KINDS
def test_nothing_used_costs_nothing_and_less_than_nothing_is_refused(kind: str) -> None:
    assert sample(kind).price(0) == 0
    with pytest.raises(InvalidInputError, match="-1 units"):
        sample(kind).price(-1)


@KINDS
@given(one=QUANTITIES, more=QUANTITIES)
def test_more_never_costs_less(kind: str, one: int, more: int) -> None:
    assert sample(kind).price(one) <= sample(kind).price(one + more)


@KINDS
@given(parts=st.lists(QUANTITIES, min_size=1, max_size=8))
def test_a_divisible_price_is_the_sum_over_its_parts(kind: str, parts: list[int]) -> None:
    # Windows are rated one by one, so a model that is not divisible has no place in the table yet.
    assert golden(kind)["divisible"]
    price = sample(kind)
    assert total([price.price(part) for part in parts]) == price.price(sum(parts))


@KINDS
def test_a_price_survives_json_without_a_float(kind: str) -> None:
    price = sample(kind)
    text = price.model_dump_json()
    assert type(price).model_validate_json(text) == price
    assert not any(isinstance(value, float) for value in json.loads(text).values())


def test_every_module_of_the_folder_is_in_the_table() -> None:
    folder = Path(next(iter(ledger.domain.pricing.models.__path__)))
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert modules == set(PRICE_MODELS) == {path.stem for path in GOLDEN.glob("*.json")}
