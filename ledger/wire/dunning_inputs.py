"""What people enter about reminding customers of what they owe."""

from typing import Annotated

from pydantic import AfterValidator, Field

from ledger.wire.errors import FieldError
from ledger.wire.input_fields import PAYMENT_DAYS_MAX, Identifier
from ledger.wire.inputs import DatedInput
from ledger.wire.rules import SizeRule

REMINDERS_MAX = 10


def _rising(days: tuple[int, ...]) -> tuple[int, ...]:
    if list(days) != sorted(set(days)):
        raise FieldError("send days that rise, like 7, 14, 30")
    return days


LateDays = Annotated[int, Field(ge=1, le=PAYMENT_DAYS_MAX)]


class NewDunningPolicy(DatedInput):
    """After how many days overdue an entity writes its first, second … and last letter.

    Letters ask for what is open and for nothing more. Without a policy none is written.
    """

    entity_id: Identifier
    reminder_days: Annotated[
        tuple[LateDays, ...],
        SizeRule(),
        Field(min_length=1, max_length=REMINDERS_MAX),
        AfterValidator(_rising),
    ]
