"""An engine's count beside events: each cause is named, at most as large as it says."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from ledger.domain.metering.engine_counter import CounterDelta
from ledger.domain.metering.reconcile import (
    INPUT,
    OUTPUT,
    Attempts,
    Hours,
    Reconciliation,
)

HOUR = datetime(2026, 4, 15, 10, tzinfo=UTC)


def grown(
    metric: str, tokens: int, *, reason: str = "", flag: str = "", inexact: bool = False
) -> CounterDelta:
    labels = (("reason", reason),) if reason else ()
    until = HOUR + timedelta(minutes=30)
    return CounterDelta("e", metric, labels, "r", HOUR, until, Decimal(tokens), flag, inexact)


def reconciled(
    *deltas: CounterDelta,
    events: tuple[int, int] = (0, 0),
    attempts: Attempts = Attempts(),  # noqa: B008
) -> Reconciliation:
    hours = Hours()
    hours.add_deltas(deltas)
    hours.events["e", HOUR] = {INPUT: events[0], OUTPUT: events[1]}
    hours.attempts["e", HOUR] = attempts
    (row,) = hours.reconcile()
    return row


def test_counts_that_agree_have_no_cause() -> None:
    row = reconciled(grown(INPUT, 100), grown(OUTPUT, 7), events=(100, 7))
    assert (row.input.difference, row.input.causes, row.input.unexplained) == (0, {}, 0)
    assert (row.output.difference, row.flags) == (0, ())


def test_a_counter_that_is_not_shown_is_unknown_and_not_zero() -> None:
    row = reconciled(grown(OUTPUT, 7), events=(100, 7))
    assert (row.input.engine, row.input.difference, row.input.unexplained) == (None, None, None)
    assert not row.input.is_over(Decimal(0))


def test_work_and_cache_counted_apart_are_input() -> None:
    row = reconciled(grown("prompt_tokens_computed", 60), grown("prompt_tokens_cached", 40))
    assert row.input.engine == 100
    assert reconciled(grown("prompt_tokens_computed", 60)).input.engine is None


def test_what_aborted_requests_had_is_known_where_the_engine_sums_those_that_ended() -> None:
    row = reconciled(
        grown(INPUT, 1_000),
        grown("prompt_tokens_finished", 900),
        grown(OUTPUT, 50),
        grown("requests_finished", 3, reason="stop"),
        grown("requests_finished", 2, reason="abort"),
        events=(870, 40),
        attempts=Attempts(requests=3),
    )
    assert row.input.causes == {"aborted without usage": 100}
    assert (row.input.difference, row.input.unexplained) == (130, 30)
    # The size of what was aborted of the output is not known, so that all of it is left.
    assert row.output.causes == {"aborted without usage": None}
    assert row.output.unexplained == 10
    assert (row.requests, row.event_requests) == (5, 3)


def test_requests_that_no_event_says_went_past_the_gateway() -> None:
    row = reconciled(
        grown(INPUT, 1_000),
        grown("requests_finished", 10, reason="stop"),
        events=(700, 0),
        attempts=Attempts(requests=7),
    )
    assert row.input.causes == {"past the gateway": 300}
    assert row.input.unexplained == 0


def test_a_request_over_the_edge_of_the_hour_explains_either_sign() -> None:
    edge = Attempts(requests=1, over_edge={INPUT: 40, OUTPUT: 0})
    for engine, left in ((130, 0), (70, 0), (200, 60), (10, 50)):
        row = reconciled(grown(INPUT, engine), events=(100, 0), attempts=edge)
        assert row.input.causes == {"ran over the hour's edge": 40}
        assert row.input.unexplained == left


def test_events_of_more_than_an_engine_counted_are_no_traffic_past_the_gateway() -> None:
    row = reconciled(grown(INPUT, 10), grown("requests_finished", 9), events=(100, 0))
    assert (row.input.causes, row.input.unexplained) == ({}, 90)
    assert row.input.is_over(Decimal("0.89"))
    assert not row.input.is_over(Decimal("0.9"))


@pytest.mark.parametrize(("flag", "cause"), [("new_run", True), ("", False)])
def test_a_counter_that_is_not_certain_is_a_cause_of_a_size_that_nobody_knows(
    flag: str, cause: bool
) -> None:
    row = reconciled(grown(INPUT, 90, flag=flag, inexact=True), events=(100, 0))
    assert row.flags == (("new_run", "precision_loss") if flag else ("precision_loss",))
    assert ("counter not certain" in row.input.causes) is cause


def test_migrations_are_named() -> None:
    row = reconciled(grown(OUTPUT, 90), grown("migrations", 2), events=(0, 80))
    assert row.output.causes == {"moved to another worker": None}
