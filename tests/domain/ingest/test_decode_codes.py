"""What is wrong with an event has a code of its own, whatever the words beside it."""

from typing import Any, get_args

import pytest

from ledger.domain.metering.decode import Reject, read_slowly
from ledger.domain.metering.fact import Reason
from ledger.wire.errors import ProblemCode
from tests.support.encoded import encode_events
from tests.support.usage import attempt

USAGE = {"input": {"uncached": 1}}
BAD: dict[str, dict[str, Any]] = {
    "invalid_field": {"customer_id": 7},
    "negative_count": {"usage": {"input": {"uncached": -1}}},
    "absurd_count": {"usage": {"input": {"uncached": 10**9}}},
    "sum_mismatch": {"usage": USAGE | {"input_total": 5}},
    "no_counts": {"usage": {}},
    "times_unordered": {
        "started_at": "2026-08-06T11:01:00Z",
        "ended_at": "2026-08-06T11:00:00Z",
        "usage": USAGE,
    },
    "context_beyond_input": {"usage": USAGE | {"context_tokens": 2}},
    "modality_beyond_side": {"usage": USAGE | {"modality": {"input.audio": 2}}},
    "parts_beyond_side": {"usage": USAGE | {"parts": [{"input": {"cache_read": 2}}]}},
    "several_models": {"served_model": "a", "usage": USAGE | {"parts": [{}, {"model": "b"}]}},
    "estimate_complete": {"usage": USAGE | {"source": "char_estimate", "complete": True}},
}


def test_every_code_is_a_reason_and_has_its_example() -> None:
    codes = set(get_args(ProblemCode))
    assert codes <= set(Reason)
    assert codes == BAD.keys() | {"unknown_type", "missing_time", "two_customers"}


@pytest.mark.parametrize("code", BAD)
def test_code_of_what_is_wrong_inside(code: str) -> None:
    assert reason(attempt(**BAD[code])) == code


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("unknown_type", {"type": "other"}),
        ("unknown_type", {"type": None}),
        ("missing_time", {"time": None}),
        ("invalid_field", {"time": "yesterday"}),
        ("two_customers", {"subject": "beta"}),
    ],
)
def test_code_of_what_is_wrong_around(code: str, said: dict[str, object]) -> None:
    assert reason(attempt() | said) == code


def test_code_of_a_time_that_is_not_there() -> None:
    event = attempt()
    del event["time"]
    assert reason(event) == "missing_time"


def reason(event: dict[str, object]) -> str:
    read = read_slowly(encode_events([event]).rstrip())
    assert isinstance(read, Reject)
    return read.reason.value
