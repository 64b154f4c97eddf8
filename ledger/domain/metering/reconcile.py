"""What engines counted beside what events say of them, by instance and hour, with named causes.

A cause is at most as large as it says; None is a cause that is there and whose size nobody knows.
What no cause can explain is unexplained, and never less than it is.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from ledger.domain.metering.engine_counter import CounterDelta
from ledger.domain.period import hour_start

INPUT, OUTPUT = "prompt_tokens", "generation_tokens"
CACHED, COMPUTED = "prompt_tokens_cached", "prompt_tokens_computed"
FINISHED, MIGRATIONS = "requests_finished", "migrations"
STEPS = "steps"
# What requests that ended had of them; the rest was of requests that run on, or that ended nowhere.
OF_FINISHED = {INPUT: "prompt_tokens_finished", OUTPUT: "generation_tokens_finished"}
METRICS = (INPUT, OUTPUT, CACHED, COMPUTED, FINISHED, MIGRATIONS, *OF_FINISHED.values())
PRECISION_LOSS = "precision_loss"
ABORTED_REASONS = frozenset({"abort", "aborted", "cancel", "cancelled", "error"})

# Engines that share a request, one of them its prompt and one its answer, both count all of it.
_HALF = "engine_type"
_OF_THE_OTHER_HALF = frozenset(
    {("prefill", OUTPUT), *(("decode", name) for name in (INPUT, CACHED, COMPUTED))}
)

Causes = Mapping[str, int | None]


def is_worked_on(delta: CounterDelta) -> bool:
    """Whether the engine that counted these tokens worked on them, and not the one beside it."""
    return (dict(delta.labels).get(_HALF), delta.metric) not in _OF_THE_OTHER_HALF


@dataclass(slots=True)
class Counted:
    """What an instance's counters grew by in an hour; a counter it did not show is absent."""

    tokens: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    aborted: int = 0
    flags: set[str] = field(default_factory=set)

    def add(self, delta: CounterDelta) -> None:
        """Take in what one counter grew by, and why that is not certain."""
        grown = int(delta.delta)
        self.tokens[delta.metric] += grown
        reason = dict(delta.labels).get("reason", "").lower()
        self.aborted += grown if delta.metric == FINISHED and reason in ABORTED_REASONS else 0
        if delta.metric in (INPUT, OUTPUT, CACHED, COMPUTED):
            self.flags |= {delta.flag, PRECISION_LOSS if delta.inexact else ""} - {""}

    def side(self, metric: str) -> int | None:
        """Tokens in or out; of a server that counts its work and its cache apart, both."""
        tokens = self.tokens.get(metric)
        if tokens is None and metric == INPUT:
            parts = [self.tokens[name] for name in (CACHED, COMPUTED) if name in self.tokens]
            return sum(parts) if len(parts) == 2 else None
        return tokens


@dataclass(frozen=True, slots=True)
class Attempts:
    """Requests that events say ended in the hour, those of them without a final count, and tokens
    in and out of those that ran over an edge of it."""

    requests: int = 0
    unfinished: int = 0
    over_edge: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Side:
    """Tokens in or out: engine and events, and what at most each cause makes of the difference."""

    engine: int | None
    events: int
    causes: Causes

    @property
    def difference(self) -> int | None:
        """Engine minus events: positive is usage that nobody reported."""
        return None if self.engine is None else self.engine - self.events

    @property
    def unexplained(self) -> int | None:
        """What is left of the difference when each cause has taken the most it can."""
        if self.difference is None:
            return None
        known = sum(tokens for tokens in self.causes.values() if tokens is not None)
        return max(abs(self.difference) - known, 0)

    def is_over(self, share: Decimal) -> bool:
        """Whether more than this share of what was counted has no cause."""
        most = max(self.engine or 0, self.events)
        return self.unexplained is not None and self.unexplained > most * share


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One instance in one hour; `flags` say why the engine's count is not certain, once each."""

    engine_instance: str
    hour: datetime
    input: Side
    output: Side
    requests: int | None
    event_requests: int
    flags: tuple[str, ...]


@dataclass(slots=True)
class Hours:
    """Everything known of instances, by hour: counters, tokens of events, attempts."""

    counted: dict[tuple[str, datetime], Counted] = field(
        default_factory=lambda: defaultdict(Counted)
    )
    events: dict[tuple[str, datetime], dict[str, int]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(int))
    )
    attempts: dict[tuple[str, datetime], Attempts] = field(default_factory=dict)

    def add_deltas(self, deltas: Iterable[CounterDelta]) -> None:
        """What grew counts in the hour of the scrape that saw it."""
        for delta in deltas:
            hour = hour_start(delta.until - timedelta(microseconds=1), "UTC")
            self.counted[delta.instance, hour].add(delta)

    def reconcile(self) -> Iterable[Reconciliation]:
        """Each instance and hour of which anything is known, in their order."""
        for instance, hour in sorted({*self.counted, *self.events}):
            counted = self.counted.get((instance, hour), Counted())
            tokens = self.events.get((instance, hour), {})
            attempts = self.attempts.get((instance, hour), Attempts())
            yield Reconciliation(
                engine_instance=instance,
                hour=hour,
                input=_side(INPUT, counted, tokens, attempts),
                output=_side(OUTPUT, counted, tokens, attempts),
                requests=counted.tokens.get(FINISHED),
                event_requests=attempts.requests,
                flags=tuple(sorted(counted.flags)),
            )


def _side(metric: str, counted: Counted, tokens: Mapping[str, int], attempts: Attempts) -> Side:
    engine, events = counted.side(metric), tokens.get(metric, 0)
    edge = attempts.over_edge.get(metric, 0)
    causes: dict[str, int | None] = {"ran over the hour's edge": edge} if edge else {}
    if counted.flags - {PRECISION_LOSS}:
        causes["counter not certain"] = None
    if engine is not None and engine > events:
        causes |= _of_more(metric, engine, counted, attempts)
    return Side(engine, events, causes)


def _of_more(
    metric: str, engine: int, counted: Counted, attempts: Attempts
) -> dict[str, int | None]:
    """Why an engine can have counted more than events say."""
    causes: dict[str, int | None] = {}
    aborted = max(counted.aborted, attempts.unfinished)
    of_finished = counted.tokens.get(OF_FINISHED[metric])
    if of_finished is not None and engine > of_finished:
        causes["aborted without usage"] = engine - of_finished
    elif aborted:
        causes["aborted without usage"] = None
    if counted.tokens.get(MIGRATIONS):
        causes["moved to another worker"] = None
    finished = counted.tokens.get(FINISHED, 0)
    past = finished - counted.aborted - attempts.requests
    if past > 0:
        # Requests that no event says had what those that ended had, one with another.
        causes["past the gateway"] = -(-(of_finished or engine) * past // finished)
    return causes
