"""What a value may be, said once: every reader of events, and of what people enter, goes by these.

A rule is a plain value that a GPU host reads too. pydantic finds the method of the name it looks
for, which says the rule as a schema of its core.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cache

from ledger.wire.errors import FieldError, Rfc3339Error
from ledger.wire.rfc3339 import parse_rfc3339
from ledger.wire.units import BLANK_VALUE_MIN

DECIMAL_CHARS_MAX = 64
DECIMAL_PATTERN = r"^-?[0-9]{1,15}(\.[0-9]{1,12})?$"
Schema = dict[str, object]
Handler = Callable[[object], Schema]


@dataclass(frozen=True, slots=True)
class About:
    """What a field is, for those who send it."""

    text: str

    def __get_pydantic_json_schema__(self, schema: object, handler: Handler) -> Schema:
        return handler(schema) | {"description": self.text}


@dataclass(frozen=True, slots=True)
class TextRule:
    """A text of so many characters without NUL, of these choices or this form where named.

    `check` returns the text or raises FieldError; frames are held to it where they are validated.
    """

    low: int = 0
    high: int | None = None
    choices: frozenset[str] | None = None
    pattern: str | None = None
    check: Callable[[str], str] | None = None

    def keeps(self, values: Sequence[str | None]) -> list[bool]:
        """Of each text whether it may stand here; None may not."""
        low, high = self.low, sys.maxsize if self.high is None else self.high
        if self.is_of_length_alone() and _all_fit(values, low, high):
            return [True] * len(values)
        kept = [
            value is not None and low <= len(value) <= high and "\0" not in value
            for value in values
        ]
        if self.is_of_length_alone():
            return kept
        return [good and self._fits(value or "") for good, value in zip(kept, values, strict=True)]

    def is_of_length_alone(self) -> bool:
        """Whether nothing but its length and a NUL can keep a text out."""
        return self.choices is None and self.pattern is None

    def _fits(self, text: str) -> bool:
        if self.choices is not None and text not in self.choices:
            return False
        return self.pattern is None or bool(_compiled(self.pattern).search(text))

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        said = {"min_length": self.low or None, "max_length": self.high, "pattern": self.pattern}
        text = {name: value for name, value in said.items() if value is not None}
        schema = _after(no_nul, {"type": "str", "strict": True, **text})
        return schema if self.check is None else _after(self.check, schema)


@dataclass(frozen=True, slots=True)
class WholeRule:
    """A whole number from `low` to `high`."""

    low: int
    high: int

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        return {"type": "int", "strict": True, "ge": self.low, "le": self.high}


@dataclass(frozen=True, slots=True)
class EnergyRule(WholeRule):
    """A counter of energy in mJ, as a whole number or as its digits."""

    low: int = 0
    high: int = BLANK_VALUE_MIN - 1

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        return _before(_energy_mj, {"type": "int"})


@dataclass(frozen=True, slots=True)
class TimeRule:
    """A time as RFC 3339."""

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        return _before(read_instant, {"type": "datetime", "strict": True})


@dataclass(frozen=True, slots=True)
class BoolRule:
    """true or false."""

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        return {"type": "bool", "strict": True}


@dataclass(frozen=True, slots=True)
class DecimalRule:
    """A decimal as text; `check` returns it or raises FieldError."""

    check: Callable[[Decimal], Decimal] | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        schema = _before(_decimal, {"type": "decimal", "strict": True})
        return schema if self.check is None else _after(self.check, schema)

    def __get_pydantic_json_schema__(self, schema: object, handler: Handler) -> Schema:
        return {"anyOf": [{"type": "string", "pattern": DECIMAL_PATTERN}, {"type": "integer"}]}


@dataclass(frozen=True, slots=True)
class SizeRule:
    """A list or a mapping of at most so many."""

    high: int | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        most = {} if self.high is None else {"max_length": self.high}
        # A JSON list becomes a tuple.
        return handler(source) | most | {"strict": False}


Rule = TextRule | WholeRule | TimeRule | BoolRule | DecimalRule | SizeRule


def choice_rule(choices: Sequence[object]) -> Rule:
    """The rule of a field that may be one of these alone, all texts or all numbers."""
    if all(isinstance(choice, str) for choice in choices):
        return TextRule(choices=frozenset(map(str, choices)))
    numbers = [int(str(choice)) for choice in choices]
    return WholeRule(min(numbers), max(numbers))


def _all_fit(values: Sequence[str | None], low: int, high: int) -> bool:
    """Whether all are texts of so many characters without NUL: of most dictionaries they are."""
    texts = [value for value in values if value is not None]
    lengths = set(map(len, texts))
    fit = low <= min(lengths, default=low) and max(lengths, default=0) <= high
    return fit and len(texts) == len(values) and "\0" not in "".join(texts)


def no_nul(text: str) -> str:
    """The text itself; a NUL, which no database holds as text, is refused."""
    if "\0" in text:
        raise FieldError("remove the NUL character")
    return text


def read_instant(value: object) -> datetime:
    """An aware time, or RFC 3339 text as one."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise FieldError("send an aware time")
        return value
    if not isinstance(value, str):
        raise FieldError("send RFC 3339 text like 2026-08-06T06:31:12.418Z")
    try:
        return parse_rfc3339(value)
    except Rfc3339Error as error:
        raise FieldError(str(error)) from error


def _decimal(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return _finite(value)
    # Digits of other scripts are digits to Python, and to nobody who checks an invoice.
    plain = isinstance(value, str) and value.isascii() and "_" not in value
    if not isinstance(value, str) or not plain or len(value) > DECIMAL_CHARS_MAX:
        raise FieldError('send a decimal as text, like "0.00125"')
    try:
        return _finite(Decimal(value))
    except InvalidOperation as error:
        raise FieldError('send a decimal as text, like "0.00125"') from error


def _finite(value: Decimal) -> Decimal:
    # An exponent of a million is three bytes on the wire and a megabyte in memory.
    if not value.is_finite() or abs(value.adjusted()) > DECIMAL_CHARS_MAX:
        raise FieldError("send a finite decimal of ordinary size")
    return value


def _energy_mj(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise FieldError("send whole millijoules as an integer or as digits")
    if not 0 <= value < BLANK_VALUE_MIN:
        raise FieldError(
            "send a counter in 0..2**62-1; a huge value is a blank reading, not energy"
        )
    return value


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # To Python a $ lets a newline pass behind it; to JSON Schema it does not.
    return re.compile(pattern.replace("$", r"\Z"))


def _before(check: Callable[..., object], schema: Mapping[str, object]) -> Schema:
    return _function("function-before", check, schema)


def _after(check: Callable[..., object], schema: Mapping[str, object]) -> Schema:
    return _function("function-after", check, schema)


def _function(kind: str, check: Callable[..., object], schema: Mapping[str, object]) -> Schema:
    return {"type": kind, "function": {"type": "no-info", "function": check}, "schema": schema}
