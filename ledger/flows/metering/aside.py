"""A record that cannot be stored goes aside whole, with its reason, so that others go on."""

from dataclasses import replace

import msgspec
import polars as pl

from ledger.domain.errors import LedgerError, UnavailableError
from ledger.domain.metering.fact import Reason
from ledger.domain.metering.record import Record
from ledger.flows.metering.commit import PositionLostError
from ledger.store.refusals import is_of_values
from ledger.wire.errors import TokenledgerError

# What reading, summing or encoding raises of what it was given; whatever else is raised, an outage
# or a schema that is not ours, would be raised of every record.
_OF_CONTENT = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    RecursionError,
    MemoryError,
    pl.exceptions.PolarsError,
    msgspec.MsgspecError,
    LedgerError,
    TokenledgerError,
)


def is_of_content(error: BaseException) -> bool:
    """Whether an error came of what was to be stored, and comes again whenever it is."""
    if isinstance(error, UnavailableError | PositionLostError):
        return False
    return isinstance(error, _OF_CONTENT) or is_of_values(error)


def refused_whole(record: Record, error: BaseException) -> Record:
    """The record as a dead letter: kept as bytes, to be tried again when its hindrance is gone."""
    first = (str(error).splitlines() or [""])[0]
    detail = f"it cannot be stored: {type(error).__name__}: {first}"
    return replace(record, refusal=detail, refused_for=Reason.UNSTORABLE)
