"""What people enter about webhooks: where systems of theirs are told what happened."""

import re
from typing import Annotated, Literal, TypeAlias
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field

from ledger.wire.errors import FieldError
from ledger.wire.input_fields import Identifier, Reason
from ledger.wire.inputs import InputModel
from ledger.wire.rules import SizeRule

URL_CHARS_MAX = 2_000
NoticeEvent: TypeAlias = Literal[
    "invoice.issued",
    "invoice.paid",
    "invoice.overdue",
    "invoice.voided",
    "credit_note.issued",
    "payment.received",
    "budget.crossed",
    "balance.low",
]
# What stands in the first line of a request and its headers: no blank, no end of a line.
_ADDRESS = re.compile(r"https?://[!-~]+", re.ASCII)


def split_address(text: str) -> SplitResult:
    """The parts of an address that something is sent to; FieldError where it is none."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    named = parts.hostname and port != 0 and not parts.fragment and "\\" not in text
    if not (_ADDRESS.fullmatch(text) and named and "@" not in parts.netloc):
        raise FieldError("send an address like https://hooks.example.com/tokenledger, without user")
    return parts


def _address(text: str) -> str:
    split_address(text)
    return text


class NewWebhook(InputModel):
    """Where a system of an entity is told what happened to its invoices, payments and budgets, or
    of one customer's alone.

    Nothing is sent before its secret was made. Address and events stay: another webhook has others.
    """

    webhook_id: Identifier
    entity_id: Identifier
    customer_id: Identifier | None = None
    url: Annotated[str, Field(max_length=URL_CHARS_MAX), AfterValidator(_address)]
    events: Annotated[tuple[NoticeEvent, ...], SizeRule(), Field(min_length=1, max_length=20)]


class WebhookSwitch(InputModel):
    """Whether a webhook is told anything from now on, and why; what it misses waits for it."""

    active: bool
    reason: Reason
