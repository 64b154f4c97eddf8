"""How a notice is put into a signed message, and when it is tried again (Standard Webhooks)."""

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from ledger.domain.address import inside_by_name
from ledger.domain.errors import InvalidInputError
from ledger.wire.rfc3339 import format_rfc3339
from ledger.wire.webhook_inputs import split_address

SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"  # noqa: S105  # what a secret begins with
# After the first try at once: four days in all, by when somebody has looked.
PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
    timedelta(hours=24),
)
# How long the secret before the newest still signs too, so that whoever checks can change over.
OVERLAP = timedelta(days=1)
GONE = 410


class Outcome(StrEnum):
    """What came of a try; REFUSED: nothing was sent, because of where it would have gone."""

    DELIVERED = "delivered"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Notice:
    """What happened, and to whom; `data` is what of it is told."""

    notice_id: str
    event: str
    noticed_at: datetime
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of sending a message: the status of the answer, or why there is none."""

    outcome: Outcome
    status: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class NextTry:
    """When to try again (None: not any more), and why the webhook is to be switched off, if so."""

    next_at: datetime | None
    off: str = ""


def body_of(notice: Notice) -> bytes:
    """The message; the same bytes of the same notice whenever it is sent."""
    said = {
        "type": notice.event,
        "timestamp": format_rfc3339(notice.noticed_at),
        "data": dict(notice.data),
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def headers_of(
    notice_id: str, body: bytes, secrets: Sequence[bytes], now: datetime
) -> dict[str, str]:
    """Id, time and a signature by each secret, which vouch for the body together."""
    seconds = str(int(now.timestamp()))
    signed = b".".join((notice_id.encode(), seconds.encode(), body))
    signatures = (hmac.new(secret, signed, sha256).digest() for secret in secrets)
    return {
        "webhook-id": notice_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{_base64(each)}" for each in signatures),
    }


def secret_text(secret: bytes) -> str:
    """A secret as it is shown, once."""
    return f"{SECRET_PREFIX}{_base64(secret)}"


def judge_answer(answer: Answer, tries_before: int, now: datetime) -> NextTry:
    """What follows from a try. A webhook that is gone, or failed to the end, is switched off."""
    if answer.outcome is Outcome.DELIVERED:
        return NextTry(None)
    if answer.status == GONE:
        return NextTry(None, "It answered that it is gone (410).")
    if tries_before < len(PAUSES):
        return NextTry(now + PAUSES[tries_before])
    return NextTry(None, f"A notice failed {tries_before + 1} times: {answer.detail}")


def check_target(url: str, *, allow_inside: bool) -> None:
    """InvalidInputError where something would be sent into the house, or where all can read it.

    What its name leads to is looked up, and checked again, whenever something is sent.
    """
    parts = split_address(url)
    host = parts.hostname or ""
    if allow_inside:
        return
    if parts.scheme != "https":
        raise InvalidInputError(f"{url} is not https.", "Send an address of https.", "url")
    reason = inside_by_name(host)
    if reason is not None:
        raise InvalidInputError(
            f"{host} is {reason}: nothing is sent into the house.",
            "Name a host that the public can reach.",
            "url",
        )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
