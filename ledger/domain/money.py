"""Turns amounts into sums, products and rounded sums, exactly.

Invariant: nothing loses a digit outside the named rounding functions; floats are refused.
"""

import decimal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from functools import cache
from types import MappingProxyType

from ledger.domain.errors import InvalidInputError
from ledger.wire.plain import plain_decimal

LEDGER_SCALE = 12
UNIT = Decimal(1).scaleb(-LEDGER_SCALE)
ZERO = Decimal(0)
# An amount of the largest price and the largest count has 46 digits, and 67 in another currency.
DIGITS = 100
EXACT = decimal.Context(
    prec=DIGITS,
    traps=[
        decimal.Inexact,
        decimal.FloatOperation,
        decimal.InvalidOperation,
        decimal.DivisionByZero,
        decimal.Overflow,
    ],
)
ROUNDING = decimal.Context(
    prec=DIGITS, traps=[decimal.FloatOperation, decimal.InvalidOperation, decimal.DivisionByZero]
)
ROUNDING_MODES = MappingProxyType({"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN})

# ISO 4217 codes by the digits of their minor unit.
_NO_MINOR = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_TWO = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD "
    "CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP "
    "GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK "
    "LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO "
    "NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS "
    "SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST "
    "XCD XCG YER ZAR ZMW ZWG"
)
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"
MINOR_DIGITS: Mapping[str, int] = MappingProxyType(
    {
        code: digits
        for digits, codes in ((0, _NO_MINOR), (2, _TWO), (3, _THREE), (4, _FOUR))
        for code in codes.split()
    }
)


def check_currency(code: str) -> str:
    """The code itself; InvalidInputError where ISO 4217 has no such current code."""
    if code not in MINOR_DIGITS:
        raise InvalidInputError(f"{code!r} is not a currency.", "Give an ISO 4217 code like EUR.")
    return code


def scale_of(value: Decimal) -> int:
    """Decimals after trailing zeros are cut; 0 for whole numbers."""
    if not value.is_finite():
        raise InvalidInputError(f"{value} is not an amount.", "Give a finite decimal.")
    exponent = value.normalize(EXACT).as_tuple().exponent
    return max(0, -int(exponent))


def total(amounts: Iterator[Decimal] | list[Decimal] | tuple[Decimal, ...]) -> Decimal:
    """The exact sum."""
    with decimal.localcontext(EXACT):
        return sum(amounts, ZERO)


def round_cost(value: Decimal) -> Decimal:
    """To 1e-12, half even: the one rounding of cost, where a pool is formed."""
    return value.quantize(UNIT, ROUND_HALF_EVEN, ROUNDING)


def percent_of(amount: Decimal, percent: Decimal) -> Decimal:
    """So many per cent of an amount, to 1e-12, half even.

    >>> plain(percent_of(Decimal(80), Decimal("12.5")).normalize())
    '10'
    """
    part = multiply(amount, percent).scaleb(-2, EXACT)
    return part.quantize(UNIT, ROUND_HALF_EVEN, ROUNDING)


def round_minor(value: Decimal, currency: str, mode: str = "half_up") -> Decimal:
    """To the currency's minor unit: the one rounding of revenue, on the invoice line.

    The absolute value is rounded, so that a credit mirrors its invoice.
    """
    if mode not in ROUNDING_MODES:
        raise InvalidInputError(f"{mode!r} is no rounding.", f"Use {' or '.join(ROUNDING_MODES)}.")
    return value.quantize(_minor_unit(currency), ROUNDING_MODES[mode], ROUNDING)


def minor_digits(currency: str) -> int:
    """Decimals of a currency's minor unit."""
    return MINOR_DIGITS[check_currency(currency)]


@cache
def _minor_unit(currency: str) -> Decimal:
    return Decimal(1).scaleb(-minor_digits(currency))


def multiply(left: Decimal, right: Decimal | int) -> Decimal:
    """The exact product; decimal.FloatOperation where a float slipped in."""
    return EXACT.multiply(left, EXACT.create_decimal(right))


def divide_half_even(numerator: int, denominator: int) -> int:
    """The nearest whole quotient of a positive denominator, ties to the even one.

    >>> [divide_half_even(n, 2) for n in (1, 3, 5, -1)]
    [0, 2, 2, 0]
    """
    quotient, remainder = divmod(numerator, denominator)
    double = 2 * remainder
    up = double > denominator or (double == denominator and quotient % 2 == 1)
    return quotient + up


plain = plain_decimal


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency; adding another currency is refused."""

    amount: Decimal
    currency: str

    def __add__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(EXACT.add(self.amount, other.amount), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(EXACT.subtract(self.amount, other.amount), self.currency)

    def __neg__(self) -> "Money":
        return Money(EXACT.minus(self.amount), self.currency)

    def _same(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise InvalidInputError(
                f"{self.currency} and {other.currency} cannot be added up.",
                "Enter an exchange rate and convert first.",
            )
