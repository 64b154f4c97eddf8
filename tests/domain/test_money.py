import decimal
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.errors import InvalidInputError
from ledger.domain.money import (
    EXACT,
    Money,
    divide_half_even,
    multiply,
    percent_of,
    plain,
    round_cost,
    round_minor,
)


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_half_even_division_is_what_decimal_does(numerator: int, denominator: int) -> None:
    exact = decimal.Context(prec=200, rounding=decimal.ROUND_HALF_EVEN)
    quotient = exact.divide(Decimal(numerator), Decimal(denominator))
    doubled = divmod(2 * numerator, denominator)
    expected = int(quotient.to_integral_value(decimal.ROUND_HALF_EVEN))
    if doubled[1] == 0 or abs(2 * numerator) % denominator:
        assert divide_half_even(numerator, denominator) == expected


def test_exact_arithmetic_refuses_floats_and_lost_digits() -> None:
    with pytest.raises(decimal.FloatOperation):
        EXACT.create_decimal(0.1)
    with pytest.raises(decimal.Inexact):
        EXACT.divide(Decimal(1), Decimal(3))


@pytest.mark.parametrize(
    ("amount", "currency", "mode", "expected"),
    [
        ("1.655", "EUR", "half_up", "1.66"),
        ("0.125", "EUR", "half_up", "0.13"),
        ("0.125", "EUR", "half_even", "0.12"),
        ("-0.125", "EUR", "half_up", "-0.13"),
        ("2.5", "JPY", "half_up", "3"),
        ("1.0005", "KWD", "half_up", "1.001"),
    ],
)
def test_minor_units_round_by_the_currency(
    amount: str, currency: str, mode: str, expected: str
) -> None:
    assert round_minor(Decimal(amount), currency, mode) == Decimal(expected)


def test_an_unknown_currency_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="XXQ"):
        round_minor(Decimal(1), "XXQ")


def test_an_unknown_rounding_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="half_up or half_even"):
        round_minor(Decimal(1), "EUR", "up")


def test_a_float_never_becomes_an_amount() -> None:
    with pytest.raises(decimal.FloatOperation):
        multiply(Decimal(1), 0.1)  # type: ignore[arg-type]


def test_two_currencies_cannot_be_added() -> None:
    with pytest.raises(InvalidInputError, match="EUR and USD"):
        Money(Decimal(1), "EUR") + Money(Decimal(1), "USD")


def test_plain_text_never_has_an_exponent() -> None:
    assert plain(Decimal("1E-12")) == "0.000000000001"
    assert plain(Decimal("-0.00")) == "0.00"
    assert plain(Decimal("1E+3")) == "1000"


def test_cost_rounds_half_even_at_twelve_decimals() -> None:
    assert round_cost(Decimal("0.0000000000005")) == 0
    assert round_cost(Decimal("0.0000000000015")) == Decimal("0.000000000002")


def test_a_part_by_per_cent_rounds_half_even_at_twelve_decimals() -> None:
    assert percent_of(Decimal("0.000000000001"), Decimal(50)) == 0
    assert percent_of(Decimal("0.000000000003"), Decimal(50)) == Decimal("0.000000000002")
    assert percent_of(Decimal("-0.000000000005"), Decimal(50)) == Decimal("-0.000000000002")
