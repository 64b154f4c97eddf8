"""The field types of events: strict counts, bounded text, instants, exact decimals."""

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from ledger.wire.errors import ProblemCode, Rfc3339Error
from ledger.wire.limits import TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX
from ledger.wire.rfc3339 import parse_rfc3339
from ledger.wire.units import BLANK_VALUE_MIN

NAME_CHARS_MAX = 256
# Sums of counts stay inside 64 bits, a batch of them in memory as all that is ever stored.
COUNT_MAX = 10**15
TAGS_MAX = 16
DECIMAL_CHARS_MAX = 64
DECIMAL_PATTERN = r"^-?[0-9]{1,15}(\.[0-9]{1,12})?$"


class WireModel(BaseModel):
    """Base of what is read off the wire: strict, unknown fields ignored, unchangeable."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


def problem(action: str) -> PydanticCustomError:
    """A refusal that says what the sender should do; field and value are added when reported."""
    # The text goes in as a value: braces in it are not placeholders.
    return PydanticCustomError("tokenledger", "{action}", {"action": action})


def problem_at(
    field: str, found: object, action: str, code: ProblemCode = "invalid_field"
) -> PydanticCustomError:
    """A refusal by a check over several fields, which names the one to look at."""
    context = {"action": action, "field": field, "found": found, "code": code}
    return PydanticCustomError("tokenledger", "{action}", context)


def no_nul(text: str) -> str:
    """The text itself; a NUL, which no database holds as text, is refused."""
    if "\0" in text:
        raise problem("remove the NUL character")
    return text


def read_instant(value: Any) -> Any:
    """An aware time, or RFC 3339 text as one."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise problem("send an aware time")
        return value
    if not isinstance(value, str):
        raise problem("send RFC 3339 text like 2026-08-06T06:31:12.418Z")
    try:
        return parse_rfc3339(value)
    except Rfc3339Error as error:
        raise problem(str(error)) from error


def list_as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _decimal(value: Any) -> Any:
    if isinstance(value, Decimal):
        return _finite(value)
    # Digits of other scripts are digits to Python, and to nobody who checks an invoice.
    plain = isinstance(value, str) and value.isascii() and "_" not in value
    if not plain or len(value) > DECIMAL_CHARS_MAX:
        raise problem('send a decimal as text, like "0.00125"')
    try:
        return _finite(Decimal(value))
    except InvalidOperation as error:
        raise problem('send a decimal as text, like "0.00125"') from error


def _finite(value: Decimal) -> Decimal:
    # An exponent of a million is three bytes on the wire and a megabyte in memory.
    if not value.is_finite() or abs(value.adjusted()) > DECIMAL_CHARS_MAX:
        raise problem("send a finite decimal of ordinary size")
    return value


def _energy_mj(value: Any) -> Any:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise problem("send whole millijoules as an integer or as digits")
    if not 0 <= value < BLANK_VALUE_MIN:
        raise problem("send a counter in 0..2**62-1; a huge value is a blank reading, not energy")
    return value


Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX), AfterValidator(no_nul)]
Count = Annotated[int, Field(ge=0, le=COUNT_MAX)]
Instant = Annotated[datetime, BeforeValidator(read_instant)]
DecimalText = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": DECIMAL_PATTERN}, {"type": "integer"}]}
    ),
]
EnergyMj = Annotated[int, BeforeValidator(_energy_mj)]
Names = Annotated[tuple[Name, ...], BeforeValidator(list_as_tuple)]
TagKey = Annotated[str, Field(min_length=1, max_length=TAG_KEY_CHARS_MAX), AfterValidator(no_nul)]
TagValue = Annotated[str, Field(max_length=TAG_VALUE_CHARS_MAX), AfterValidator(no_nul)]
Tags = Annotated[dict[TagKey, TagValue], Field(max_length=TAGS_MAX)]
