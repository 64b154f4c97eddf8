"""What a stored fact says beside its counts: kind, flag bits, and the fate of what was received.

Invariant: every received item has exactly one fate, and a sum over facts is plain addition, because
a reversal carries negative counts.
"""

from enum import IntEnum, IntFlag, StrEnum
from typing import get_args

from ledger.wire.usage import Status


class Kind(IntEnum):
    """Why a row of usage_fact exists."""

    ORIGINAL = 1
    REVERSAL = 2
    REPLACEMENT = 3
    RELEASE = 4


class TierSource(IntEnum):
    """Who said which tier an attempt was served on, most trusted first."""

    EVENT = 0
    KEY = 1
    DEPLOYMENT = 2
    ENTITY = 3


class Flag(IntFlag):
    """Bits of usage_fact.flags; bits 8-9 hold the TierSource, bits 12-15 the status.

    SUPERSEDED marks a fact that was reversed in the batch that stored it. Tokens of a leaf that is
    CACHED_, WRITTEN_ or REASONING_UNKNOWN may sit in `uncached` or `visible`.
    """

    ESTIMATED = 2
    INCOMPLETE = 4
    INPUT_UNKNOWN = 8
    OUTPUT_UNKNOWN = 16
    CONTEXT_UNKNOWN = 32
    STREAM = 64
    NOT_STREAM = 128
    SUPERSEDED = 1024
    CACHED_UNKNOWN = 1 << 16
    WRITTEN_UNKNOWN = 1 << 17
    REASONING_UNKNOWN = 1 << 18


# What a count may lack, by the name under which requests that lack it are summed.
MARKS = {
    "estimated": Flag.ESTIMATED,
    "incomplete": Flag.INCOMPLETE,
    "input_unknown": Flag.INPUT_UNKNOWN,
    "output_unknown": Flag.OUTPUT_UNKNOWN,
    "cached_unknown": Flag.CACHED_UNKNOWN,
    "written_unknown": Flag.WRITTEN_UNKNOWN,
    "reasoning_unknown": Flag.REASONING_UNKNOWN,
}
TIER_SOURCE_SHIFT = 8
STATUS_SHIFT = 12
# A status is stored as its place in this list, 0 is unknown.
STATUSES = ("", *get_args(Status))


def tier_source(flags: int) -> TierSource:
    """Who said the tier of a fact with these flags."""
    return TierSource(flags >> TIER_SOURCE_SHIFT & 3)


def flag_names(flags: int) -> list[str]:
    """The bits that are set of a fact's flags, in words; neither tier source nor status."""
    return [flag.name.lower() for flag in Flag if flags & flag and flag.name]


def status_of(flags: int) -> str | None:
    """How the attempt ended; None is unknown."""
    return STATUSES[flags >> STATUS_SHIFT & 15] or None


def with_tier_source(flags: int, said_by: TierSource) -> int:
    """The same flags with another source of the tier."""
    return flags & ~(3 << TIER_SOURCE_SHIFT) | said_by << TIER_SOURCE_SHIFT


class Fate(StrEnum):
    """What became of a received item."""

    COUNTED = "counted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    QUARANTINED = "quarantined"
    SUPERSEDED = "superseded"
    SUSPENSE = "suspense"


class Reason(StrEnum):
    """Why an item was quarantined: the code callers may rely on; the detail names the field."""

    NOT_JSON = "not_json"
    BAD_HEADER = "bad_header"
    BAD_COLUMNS = "bad_columns"
    BODY_TOO_LARGE = "body_too_large"
    TOO_MANY_ITEMS = "too_many_items"
    COUNT_MISMATCH = "count_mismatch"
    UNKNOWN_TYPE = "unknown_type"
    UNSUPPORTED_TYPE = "unsupported_type"
    MISSING_TIME = "missing_time"
    FUTURE_TIME = "future_time"
    PAST_TIME = "past_time"
    TIMES_UNORDERED = "times_unordered"
    TIMES_APART = "times_apart"
    SPAN_TOO_LONG = "span_too_long"
    INVALID_FIELD = "invalid_field"
    NEGATIVE_COUNT = "negative_count"
    ABSURD_COUNT = "absurd_count"
    SUM_MISMATCH = "sum_mismatch"
    NO_COUNTS = "no_counts"
    ESTIMATE_COMPLETE = "estimate_complete"
    CONTEXT_BEYOND_INPUT = "context_beyond_input"
    MODALITY_BEYOND_SIDE = "modality_beyond_side"
    PARTS_BEYOND_SIDE = "parts_beyond_side"
    SEVERAL_MODELS = "several_models"
    TWO_CUSTOMERS = "two_customers"
    WRONG_SOURCE = "wrong_source"
    WRONG_PLACE = "wrong_place"
    WRONG_FORM = "wrong_form"
    FORBIDDEN_SOURCE = "forbidden_source"
    FORBIDDEN_CUSTOMER = "forbidden_customer"
    UNKNOWN_TARGET = "unknown_target"
    NOT_AN_ORIGINAL = "not_an_original"
    FORBIDDEN_TARGET = "forbidden_target"
    TARGET_AWAY = "target_away"
    UNSTORABLE = "unstorable"
    MORE_REFUSED = "more_refused"
