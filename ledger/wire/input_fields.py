"""The field types of what people enter: amounts, currencies, zones, quarter hours, days.

Everything has bounds, which the database holds as well (migrations/sql/bounds.sql): whatever is
accepted here can be multiplied, added up and dated by every stage behind it.
"""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from ledger.wire.errors import FieldError
from ledger.wire.extras import EXTRAS
from ledger.wire.fields import DecimalText, Instant, Name
from ledger.wire.rules import no_nul, read_instant

SCALE_MAX = 12
GRID_SECONDS = 900
# What ran is weighed in slots of so many seconds, unless a deployment says otherwise.
SLOT_SECONDS = 15
# A larger amount or rate is a slip of the hand in any currency; times the largest count of tokens
# it still has an exact product.
AMOUNT_MAX = 10**15
RATE_MAX = 10**9
PUE_MAX = 100
GAIN_MAX = 10
GPUS_MAX = 1_000_000
WHOLE_MAX = 2**31 - 1
GPU_SHARE_SCALE = 6
PAYMENT_DAYS_MAX = 3_650
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2200, 1, 1)
FIRST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
LAST_MOMENT = datetime(2200, 1, 1, tzinfo=UTC)
METERS = (
    "input_uncached",
    "input_cache_read",
    "input_cache_write",
    "output_visible",
    "output_reasoning",
    "requests",
    *EXTRAS,
)
# A direction is short for its main meter. Thoughts cost what output costs unless priced apart;
# cache reads and writes need prices of their own, requests cost nothing without one, and parts of
# tokens what the whole does. Fees,
# commitments, discounts, rules of who pays and mark-ups on cost are of no meter of usage.
METER_OF: Mapping[str, str] = MappingProxyType(
    {
        "input": "input_uncached",
        "cached_input": "input_cache_read",
        "output": "output_visible",
        **{meter: meter for meter in (*METERS, "fee", "commitment", "discount", "outcome", "cost")},
    }
)


# What names something of ours stands in paths, file names, headers and invoice numbers.
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+=~-]*", re.ASCII)


# Control signs, formats, halves of signs, those of private use, and ends of lines and paragraphs.
_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
# Noncharacters, for which XML has no room either, and fillers that are letters by name alone.
_NO_SIGNS = re.compile(
    "[\ufdd0-\ufdef\u034f\u115f\u1160\u2800\u3164\uffa0"
    + "".join(chr(plane * 0x10000 + last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
# Those that scripts need: joiners, a place to break a word, and marks of the direction of a word.
_OF_SCRIPTS = frozenset("\u00ad\u061c\u200c\u200d\u200e\u200f")


def _identifier(text: str) -> str:
    if not _IDENTIFIER.fullmatch(text):
        raise FieldError("send letters, digits and . _ : @ + = ~ - only, a letter or digit first")
    return text


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise FieldError("send one line of printable characters, without blanks at its ends")
    return text


def _shown(text: str) -> str:
    """Refuse signs that nobody sees: they hide in a document, or turn around what stands there."""
    for sign in text:
        unseen = unicodedata.category(sign) in _UNSEEN and sign not in _OF_SCRIPTS
        if unseen or _NO_SIGNS.match(sign):
            raise FieldError(f"remove the sign U+{ord(sign):04X}, which nobody sees")
    if "\N{REPLACEMENT CHARACTER}" in text:
        raise FieldError("write the text anew: U+FFFD stands where a sign was lost on the way")
    return text


def _shown_name(text: str) -> str:
    if all(sign.isspace() or sign in _OF_SCRIPTS for sign in text):
        raise FieldError("send a name that can be seen")
    return _shown(text)


def _shown_lines(text: str) -> str:
    return "\n".join(_shown(line) for line in text.replace("\r\n", "\n").split("\n"))


def _whole_as_decimal(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    return value


def _amount(value: Decimal) -> Decimal:
    digits = value.normalize().as_tuple().exponent
    if isinstance(digits, int) and -digits > SCALE_MAX:
        raise FieldError(f"send at most {SCALE_MAX} decimal places")
    if abs(value) > AMOUNT_MAX:
        raise FieldError(f"send at most {AMOUNT_MAX}")
    return value


def _not_negative(value: Decimal) -> Decimal:
    if value < 0:
        raise FieldError("send 0 or more")
    return value


def _currency(text: str) -> str:
    if not (len(text) == 3 and text.isascii() and text.isalpha() and text.isupper()):
        raise FieldError("send a currency of ISO 4217 like EUR")
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise FieldError("send an IANA time zone like Europe/Copenhagen") from None
    return name


def _slot(seconds: int) -> int:
    if GRID_SECONDS % seconds:
        raise FieldError(f"send a divisor of {GRID_SECONDS}, like {SLOT_SECONDS}")
    return seconds


def _in_range(moment: datetime) -> datetime:
    if not FIRST_MOMENT <= moment <= LAST_MOMENT:
        raise FieldError(f"send a time from {FIRST_DAY} to {LAST_DAY}")
    return moment


def _day_in_range(day: date) -> date:
    if not FIRST_DAY <= day <= LAST_DAY:
        raise FieldError(f"send a day from {FIRST_DAY} to {LAST_DAY}")
    return day


def _on_grid(moment: datetime) -> datetime:
    if moment.microsecond or int(moment.timestamp()) % GRID_SECONDS:
        raise FieldError("send a time on a quarter hour, like 2026-08-06T06:15:00Z")
    return moment


def _meter(name: str) -> str:
    if name not in METER_OF:
        raise FieldError(f"send one of {', '.join(METER_OF)}")
    return METER_OF[name]


def _gain(value: Decimal) -> Decimal:
    if not 0 < value <= GAIN_MAX:
        raise FieldError(f"send a number above 0, up to {GAIN_MAX}")
    return value


def _gpu_share(value: Decimal) -> Decimal:
    if not 0 < value <= 1:
        raise FieldError("send a part above 0, up to 1, like 0.5")
    if value != round(value, GPU_SHARE_SCALE):
        raise FieldError(f"send at most {GPU_SHARE_SCALE} decimal places")
    return value


def _at_least_one(value: Decimal) -> Decimal:
    if value < 1:
        raise FieldError("send facility energy over IT energy, which is at least 1")
    if value > PUE_MAX:
        raise FieldError(f"send facility energy over IT energy, at most {PUE_MAX}")
    return value


def _above_zero(value: Decimal) -> Decimal:
    if value <= 0:
        raise FieldError("send a rate above 0")
    if value > RATE_MAX:
        raise FieldError(f"send a rate of at most {RATE_MAX}")
    return value


def _yearly_percent(value: Decimal) -> Decimal:
    if not 0 <= value <= 100:
        raise FieldError("send a percentage of a year from 0 to 100")
    return value


def _power_of_ten(value: int) -> int:
    if not str(value).rstrip("0") == "1":
        raise FieldError("send a power of ten, like 1000000")
    return value


def _day(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise FieldError("send a day like 2026-08-06") from None


def _day_or_instant(value: Any) -> Any:
    if isinstance(value, str) and len(value) == len("2026-08-06"):
        return _day_in_range(_day(value))
    return _in_range(read_instant(value))


# Names that we give: entities, customers, hardware, cards, prefixes of numbers.
Identifier = Annotated[Name, Field(max_length=128), AfterValidator(_identifier)]
# Names that others give, as events say them: models, tiers, regions, a customer in another system.
Label = Annotated[Name, AfterValidator(_printable)]
Text = Annotated[str, Field(max_length=1_000), AfterValidator(no_nul)]
# What stands on documents: a name, other text, and an address of several lines.
PrintedName = Annotated[Name, AfterValidator(_shown_name)]
PrintedText = Annotated[Text, AfterValidator(_shown)]
PrintedLines = Annotated[Text, AfterValidator(_shown_lines)]
Reason = Annotated[Text, Field(min_length=1)]
PrintedReason = Annotated[Reason, AfterValidator(_shown_lines)]
Currency = Annotated[str, AfterValidator(_currency)]
Zone = Annotated[Name, AfterValidator(_zone)]
Amount = Annotated[DecimalText, BeforeValidator(_whole_as_decimal), AfterValidator(_amount)]
Price = Annotated[Amount, AfterValidator(_not_negative)]
Pue = Annotated[Amount, AfterValidator(_at_least_one)]
Gain = Annotated[Amount, AfterValidator(_gain)]
GpuShare = Annotated[Amount, AfterValidator(_gpu_share)]
PositiveRate = Annotated[Amount, AfterValidator(_above_zero)]
Meter = Annotated[Name, AfterValidator(_meter)]
YearlyPercent = Annotated[Amount, AfterValidator(_yearly_percent)]
PowerOfTen = Annotated[int, Field(ge=1, le=10**12), AfterValidator(_power_of_ten)]
# Every date that a person enters is one of these three.
DatedInstant = Annotated[Instant, AfterValidator(_in_range)]
GridInstant = Annotated[DatedInstant, AfterValidator(_on_grid)]
Day = Annotated[date, BeforeValidator(_day), AfterValidator(_day_in_range)]
# A day is one of the zone of what it is said of.
DayOrInstant = Annotated[
    datetime | date,
    BeforeValidator(_day_or_instant),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "string", "format": "date"},
            ]
        }
    ),
]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")]
Positive = Annotated[int, Field(ge=1, le=WHOLE_MAX)]
Whole = Annotated[int, Field(ge=0, le=WHOLE_MAX)]
Gpus = Annotated[int, Field(ge=1, le=GPUS_MAX)]
SlotSeconds = Annotated[int, Field(ge=1, le=GRID_SECONDS), AfterValidator(_slot)]
PaymentDays = Annotated[int, Field(ge=0, le=PAYMENT_DAYS_MAX)]
