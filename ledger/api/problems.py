"""Turns every error into an RFC 9457 problem document; no stack trace ever leaves."""

import json
import logging
from typing import Any
from uuid import uuid4

import asyncpg
from litestar import Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

from ledger.api.request import ApiRequest
from ledger.domain.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    LedgerError,
    MissingInputError,
    NotFoundError,
    OverBudgetError,
    Shortfall,
    UnavailableError,
)
from ledger.domain.money import plain
from ledger.store.passing import passes_by_itself
from ledger.wire.errors import EventError, InputError, WireError, shorten
from ledger.wire.rfc3339 import format_rfc3339
from ledger.wire.secrets import scrub

log = logging.getLogger(__name__)
PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_S = 2
TITLES = {
    400: "Malformed request",
    401: "Who are you?",
    402: "Over budget",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Body too slow",
    409: "Conflict",
    413: "Body too large",
    415: "Unsupported media type",
    422: "Invalid input",
    429: "Too many requests",
    500: "Internal error",
    503: "Try again later",
}


class UnauthenticatedError(LedgerError):
    """No key, a wrong key, or a revoked one."""

    title = "Who are you?"


class MalformedBodyError(LedgerError):
    """The body cannot be read at all."""

    title = "Malformed request"


class BodyTooLargeError(LedgerError):
    """The body is over the limit, as sent or once decompressed."""

    title = "Body too large"


class BodyTooSlowError(LedgerError):
    """The body stalled, or came at a trickle."""

    title = "Body too slow"


class UnsupportedMediaError(LedgerError):
    """The body is of a type this resource does not take."""

    title = "Unsupported media type"


class TooManyBodiesError(UnavailableError):
    """More bodies are being stored than memory should hold."""

    title = "Too many requests"


class QuotaError(UnavailableError):
    """A key has used its share of requests or bytes; there is some again in `retry_after_s`."""

    title = "Too many requests"

    def __init__(self, message: str, remedy: str, *, retry_after_s: int) -> None:
        super().__init__(message, remedy)
        self.retry_after_s = retry_after_s


class TooManyReportsError(UnavailableError):
    """A key has as many reports on their way as it may have."""

    title = "Too many requests"


class TooManyFailuresError(UnavailableError):
    """Too many keys that are none came from one address."""

    title = "Too many requests"


_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (UnauthenticatedError, 401),
    (MalformedBodyError, 400),
    (BodyTooSlowError, 408),
    (BodyTooLargeError, 413),
    (UnsupportedMediaError, 415),
    (TooManyBodiesError, 429),
    (TooManyFailuresError, 429),
    (QuotaError, 429),
    (TooManyReportsError, 429),
    (InvalidInputError, 422),
    (OverBudgetError, 402),
    (NotFoundError, 404),
    (ConflictError, 409),
    (MissingInputError, 409),
    (ForbiddenError, 403),
    (UnavailableError, 503),
    (InputError, 422),
    (EventError, 422),
    (WireError, 400),
)


# Values that no column can hold, and rows that contradict others.
_VALUES, _CONTRADICTIONS = "22", "23"


def status_of(error: Exception) -> int:
    """The HTTP status of an error; 500 for what nobody foresaw."""
    if isinstance(error, HTTPException):
        return error.status_code
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def to_problem(request: ApiRequest, error: Exception) -> Response[bytes]:
    """The problem document of an error, with the request id as its instance."""
    request_id = str(request.scope.get("request_id") or uuid4().hex)
    raised, error = error, _foreseen(error)
    if raised is not error:
        log.warning("request %s: %s", request_id, type(raised).__name__)
    status = status_of(error)
    if status >= 500 and not isinstance(error, LedgerError):
        log.error("request %s failed", request_id, exc_info=error)
    body: dict[str, Any] = {
        "type": f"urn:tokenledger:problem:{_slug(status, error)}",
        "title": _title(status, error),
        "status": status,
        "detail": _unrouted(request.method, request.scope["path"], error) or _detail(status, error),
        "instance": f"urn:request:{request_id}",
    }
    if isinstance(error, LedgerError) and error.where:
        body["pointer"] = error.where
    if isinstance(error, InputError | EventError):
        body["errors"] = [
            {"pointer": p.field, "found": p.found, "detail": p.action} for p in error.problems
        ]
    if isinstance(error, OverBudgetError) and error.shortfall is not None:
        body["budget"] = _shortfall(error.shortfall)
    after = error.retry_after_s if isinstance(error, QuotaError) else RETRY_AFTER_S
    headers = {"Retry-After": str(after)} if status in {429, 503} else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowedException):
        headers["Allow"] = _allowed(error)
    return Response(
        scrub(json.dumps(body, ensure_ascii=False)).encode(),
        status_code=status,
        media_type=PROBLEM_JSON,
        headers=headers,
    )


def _shortfall(lacking: Shortfall) -> dict[str, str | None]:
    amounts = ("needed", "ceiling", "used", "held", "left")
    return {
        "budget_id": lacking.budget_id,
        "agent_run_id": lacking.agent_run_id,
        "period_start": format_rfc3339(lacking.period_start),
        "unit": lacking.unit,
        "currency": lacking.currency,
        **{name: plain(getattr(lacking, name)) for name in amounts},
        "reason": lacking.reason,
    }


def _foreseen(error: Exception) -> Exception:
    """What the database or Python refused, as an error of ours; anything else is left as it is."""
    if isinstance(error, LedgerError | WireError | HTTPException):
        return error
    if passes_by_itself(error):
        return UnavailableError("The database cannot answer now.", "Send the request again.")
    code = getattr(error, "sqlstate", None) or ""
    if isinstance(error, UnicodeError | OverflowError | asyncpg.InterfaceError) or code.startswith(
        _VALUES
    ):
        return InvalidInputError("A value is not one that the books can hold.", "Send another.")
    if code.startswith(_CONTRADICTIONS):
        return ConflictError("It contradicts what is recorded.", "Look at what is there.")
    if isinstance(error, RecursionError):
        return MalformedBodyError("It is nested too deeply.", "Send something flatter.")
    return error


def _slug(status: int, error: Exception) -> str:
    return _title(status, error).lower().replace(" ", "-").rstrip("?")


def _title(status: int, error: Exception) -> str:
    if isinstance(error, LedgerError):
        return error.title
    return TITLES.get(status, "Error")


def _allowed(error: MethodNotAllowedException) -> str:
    return ", ".join(sorted((error.headers or {}).get("allow", "").split(", ")))


def _unrouted(method: str, path: str, error: Exception) -> str | None:
    """What to say where nothing is, or nothing that takes the method."""
    if isinstance(error, MethodNotAllowedException):
        return f"{method} is not for {shorten(path)}. Use {_allowed(error)}."
    if isinstance(error, NotFoundException):
        return f"There is nothing at {shorten(path)}. See /schema/openapi.json for what there is."
    return None


def _detail(status: int, error: Exception) -> str:
    if isinstance(error, HTTPException):
        return str(error.detail)
    if status == 500:
        return "Something went wrong here; the request id names it in the log."
    return str(error)
