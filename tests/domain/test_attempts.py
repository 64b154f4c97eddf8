"""When attempts ran, and in which windows, beside plain numbers one by one."""

from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.cost.attempt_rows import ATTEMPT, PART_ROWS
from ledger.domain.cost.attempt_times import attempts_of
from ledger.domain.cost.attempts import EngineOwner, by_window

SECOND_US, WINDOW_US, WAIT_MAX_MS = 1_000_000, 900_000_000, 32 * 86_400_000


@dataclass(frozen=True)
class Fact:
    engine_key_id: int
    usage_key_id: int
    time: int
    started_at: int | None
    first_token_at: int | None
    ended_at: int | None
    queue_ms: int | None
    requests: int
    uncached: int
    cache_read: int
    cache_write: int
    visible: int
    reasoning: int


def _frame(facts: list[Fact]) -> pl.DataFrame:
    return pl.DataFrame(
        [asdict(fact) for fact in facts], dict.fromkeys(Fact.__annotations__, pl.Int64)
    )


_moments = st.one_of(
    st.integers(-3, 3 * WINDOW_US), st.integers(0, 6), st.integers(WINDOW_US - 3, WINDOW_US + 3)
)
_maybe = st.one_of(st.none(), _moments)
_counts = st.one_of(st.integers(-5, 5), st.integers(-(2**40), 2**40))
_waits = st.one_of(st.none(), st.integers(-2, 3), st.integers(0, 2**45))
_facts = st.builds(
    Fact,
    engine_key_id=st.integers(1, 3),
    usage_key_id=st.integers(-(2**63) + 1, 2**63 - 1),
    time=_moments,
    started_at=_maybe,
    first_token_at=_maybe,
    ended_at=_maybe,
    queue_ms=_waits,
    requests=st.one_of(st.integers(-3, 3), st.integers(0, 2**40)),
    uncached=_counts,
    cache_read=_counts,
    cache_write=_counts,
    visible=_counts,
    reasoning=_counts,
)


def _attempt(fact: Fact) -> tuple[int, ...]:
    end, seen, start = fact.time, False, fact.time
    first = fact.first_token_at
    if fact.started_at is not None:
        end = fact.time if fact.ended_at is None else fact.ended_at
        seen = first is not None and fact.started_at <= first <= end
        start = fact.started_at + min(max(fact.queue_ms or 0, 0), WAIT_MAX_MS) * 1_000
    start = min(start, first if seen and first is not None else end)
    if start >= end:
        start, seen = end - end % SECOND_US, False
        end = start + SECOND_US
    read, wrote = end, start
    if seen and first is not None:
        read, wrote = max(first, start + 1), min(first, end - 1)
    inputs = [abs(count) for count in (fact.uncached, fact.cache_read, fact.cache_write)]
    output = abs(fact.visible) + abs(fact.reasoning)
    sign = (fact.requests > 0) - (fact.requests < 0)
    context = (sum(inputs) + output // 2) // max(abs(fact.requests), 1)
    times = (start, read, wrote, end)
    return (fact.engine_key_id, fact.usage_key_id, *times, sign, *inputs, output, context)


@given(st.lists(_facts, max_size=6))
def test_attempts_are_those_of_facts_one_by_one(facts: list[Fact]) -> None:
    rows = attempts_of(_frame(facts))
    assert list(map(tuple, rows.tolist())) == [_attempt(fact) for fact in facts]
    for start, read, wrote, end in rows[:, 2:6].tolist():
        assert start < read <= end
        assert start <= wrote < end


def test_attempts_of_more_facts_than_are_filled_in_at_once() -> None:
    facts = [
        Fact(1, n, n * 7, n if n % 3 else None, n + 1, None, n % 5, 1, n, 0, 1, n % 9, 0)
        for n in range(2 * PART_ROWS + 1)
    ]
    rows = attempts_of(_frame(facts))
    assert list(map(tuple, rows.tolist())) == [_attempt(fact) for fact in facts]


_runs = st.lists(
    st.tuples(_moments, st.integers(1, 2 * WINDOW_US), st.integers(0, 4), st.integers(0, 1)),
    max_size=20,
)


@given(_runs, st.sampled_from([1, 2**20, 2**58]), st.integers(-2, 3))
def test_a_window_has_those_that_run_in_it_by_the_ranks_of_their_keys(
    drawn: list[tuple[int, int, int, int]], apart: int, moved: int
) -> None:
    rows = np.zeros((len(drawn), len(ATTEMPT)), np.int64)
    for row, (start, length, _, _) in zip(rows, drawn, strict=True):
        row[2], row[5] = start + moved * WINDOW_US, start + moved * WINDOW_US + length
    ranks = np.array([rank * apart for *_, rank, _ in drawn], np.int64)
    numbers = np.array([owner for *_, owner in drawn], np.int64)
    owners = [EngineOwner(1, None), EngineOwner(1, "other")]

    found = by_window(rows, ranks, numbers, owners)

    expected: dict[int, dict[EngineOwner, list[int]]] = {}
    for n in sorted(range(len(drawn)), key=lambda n: (ranks[n], n)):
        start, end = rows[n, 2], rows[n, 5]
        for window in range(start // WINDOW_US, (end - 1) // WINDOW_US + 1):
            of_window = expected.setdefault(int(window) * WINDOW_US, {})
            of_window.setdefault(owners[numbers[n]], []).append(n)
    said = {
        start: {owner: of_it.tolist() for owner, of_it in attempts.numbers.items()}
        for start, attempts in found.items()
    }
    assert said == expected
