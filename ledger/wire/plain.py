"""The one encoder of what is shown: decimals as text, times as RFC 3339, counts as integers.

A float among the values is a mistake of ours and raises TypeError.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from ledger.wire.rfc3339 import format_rfc3339


def plain_decimal(value: Decimal) -> str:
    """Text without exponent: `1E-12` becomes `0.000000000001`; minus zero becomes `0`."""
    return format(abs(value) if value.is_zero() else value, "f")


def plain_value(value: Any) -> Any:
    """A value, mapping or dataclass as JSON holds it."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_value(getattr(value, field.name)) for field in fields(value)}
    return _text(value)


def _text(value: object) -> str:
    match value:
        case Decimal():
            return plain_decimal(value)
        case datetime():
            return format_rfc3339(value)
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")
