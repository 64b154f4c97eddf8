"""The field types of events: strict counts, bounded text, instants, exact decimals."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from ledger.wire.limits import TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX
from ledger.wire.rules import (
    BoolRule,
    DecimalRule,
    EnergyRule,
    SizeRule,
    TextRule,
    TimeRule,
    WholeRule,
)

NAME_CHARS_MAX = 256
# Sums of counts stay inside 64 bits, a batch of them in memory as all that is ever stored.
COUNT_MAX = 10**15
TAGS_MAX = 16

Name = Annotated[str, TextRule(1, NAME_CHARS_MAX)]
Currency = Annotated[str, TextRule(pattern=r"^[A-Z]{3}$")]
Count = Annotated[int, WholeRule(0, COUNT_MAX)]
Flag = Annotated[bool, BoolRule()]
Instant = Annotated[datetime, TimeRule()]
DecimalText = Annotated[Decimal, DecimalRule()]
EnergyMj = Annotated[int, EnergyRule()]
Names = Annotated[tuple[Name, ...], SizeRule()]
TagKey = Annotated[str, TextRule(1, TAG_KEY_CHARS_MAX)]
TagValue = Annotated[str, TextRule(0, TAG_VALUE_CHARS_MAX)]
Tags = Annotated[dict[TagKey, TagValue], SizeRule(TAGS_MAX)]
