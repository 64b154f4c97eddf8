"""Finds the rows of a frame that break a rule, and resolves the leaves of those that do not.

Invariant: the rules over several fields are those of `wire.usage`; a row that looks wrong here is
put to that reference, which decides and explains. Three rules are of what the wire does not hold a
time against: the present moment, how long a span the ledger spreads, and the event's own `time`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import polars as pl

from ledger.domain.metering.extras import EXTRAS_SAID
from ledger.domain.metering.fact import STATUS_SHIFT, Flag, Kind, Reason
from ledger.domain.metering.kept import INPUT, OUTPUT, status_number
from ledger.domain.money import LEDGER_SCALE
from ledger.domain.period import EPOCH, MICROSECOND
from ledger.domain.pricing.outcome import BITS
from ledger.domain.pricing.rate_card import BAND_EDGES
from ledger.wire.events import FUTURE_TOLERANCE
from ledger.wire.extras import KINDS_OF
from ledger.wire.usage import (
    ESTIMATE_SOURCES,
    LEAF_TOKENS_MAX,
    LEAF_TOKENS_PER_REQUEST_MAX,
)

# A month of a vendor's bill is one record; longer ones would be spread over windows by guessing.
SPAN_MAX = timedelta(days=32)
# Two clocks may write down one end; a local time that is called UTC is off by this or more.
END_TOLERANCE = timedelta(hours=1)
AMOUNT_DIGITS_MAX = 24
AMOUNT_PLAIN = r"^-?\d{1,24}(?:\.\d{1,12})?$"
# Before it nobody ran what is billed here: such a time is a clock that was never set.
EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
_ATTEMPT_TIMES = ("time", "started_at", "first_token_at", "ended_at")
_OTHER_TIMES = ("recordedtime", "sampled_at", "run_started_at", "since")
_ORDERED_TIMES = (
    *(("started_at", "first_token_at"), ("first_token_at", "ended_at")),
    ("started_at", "ended_at"),
)
# More digits than QUANTITY_MAX has, or as many of which units may make more.
_ABSURD_EXTRA = r"=\d{10}"
_JSON = r"(?i)^\s*(?:application/json|[^;]*\+json)\s*(?:;|$)"
# How an attempt ended, by what it is then.
_ENDS = {
    "aborted": [status_number(name) for name in ("client_aborted", "budget_stopped")],
    "failed": [
        status_number(name) for name in ("timeout", "rejected", "provider_error", "engine_error")
    ],
    "filtered": [status_number("content_filtered")],
}
_IN = [f"in_{name}" for name in INPUT]
_OUT = [f"out_{name}" for name in OUTPUT]


class Meanings(NamedTuple):
    """What the fields of attempts say: the two main leaves `main_in` and `main_out`, from leaves or
    totals; of what has these, the five meters, and whether a rule of the wire may refuse it
    (`suspect`); of what has the meters, flags, context band and outcomes."""

    main_leaves: Sequence[pl.Expr]
    suspicion: pl.Expr
    counts: Mapping[str, pl.Expr]
    marks: Mapping[str, pl.Expr]


@lru_cache(256)
def meanings(said: frozenset[str]) -> Meanings:
    """Expressions over the columns that `said` names.

    Of the others no row says anything: they are left out, because each part of an expression costs
    a small batch as much as some rows do.
    """
    by = _Said(said)
    return Meanings(by.main_leaves(), by.suspicion(), by.counts(), by.marks())


@dataclass(frozen=True, slots=True)
class _Said:
    """Rules over the columns of which some row says something."""

    said: frozenset[str]

    def main_leaves(self) -> Sequence[pl.Expr]:
        """`main_in` and `main_out`, the two main leaves, from the leaves or the totals."""
        return (
            self._main("in_uncached", _IN[1:], "input_total").alias("main_in"),
            self._main("out_visible", _OUT[1:], "output_total").alias("main_out"),
        )

    def suspicion(self) -> pl.Expr:
        """`suspect`: whether a rule of the wire may refuse a row that has its main leaves."""
        rules = [
            pl.col("bad_time"),
            *self._suspect_side("in_uncached", _IN[1:], "input_total"),
            *self._suspect_side("out_visible", _OUT[1:], "output_total"),
            pl.col("main_in").is_null() & pl.col("main_out").is_null(),
            self._absurd(),
            *self._contradictions(),
            (pl.col("kind") == Kind.REPLACEMENT)
            & (self._unknown("supersedes") | (pl.col("revision") < 1)),
            (pl.col("kind") == Kind.ORIGINAL) & self._replaces(),
        ]
        if self.says("datacontenttype"):
            rules.append(_not_json())
        if self.says("complete", "usage_source"):
            rules.append(pl.col("complete") & _is_estimated())
        rules += [
            pl.col(later) < pl.col(earlier)
            for earlier, later in _ORDERED_TIMES
            if self.says(earlier, later)
        ]
        if self.says(EXTRAS_SAID):
            rules.append(pl.col(EXTRAS_SAID).str.contains(_ABSURD_EXTRA))
            rules += self._beyond_side()
        if self.says("cost_amount"):
            rules.append(~pl.col("cost_amount").str.contains(AMOUNT_PLAIN))
        return pl.any_horizontal(rules).fill_null(value=False).alias("suspect")

    def counts(self) -> Mapping[str, pl.Expr]:
        """The five meters of rows that have their main leaves."""
        return {
            "uncached": pl.col("main_in").fill_null(0) + self._plus("in_tool_use"),
            "cache_read": self._plus("in_cache_read"),
            "cache_write": self._plus(*_IN[2:5]),
            "visible": pl.col("main_out").fill_null(0) + self._plus("out_rejected_prediction"),
            "reasoning": self._plus("out_reasoning"),
        }

    def marks(self) -> Mapping[str, pl.Expr]:
        """The flags and the context band of rows that have their meters."""
        # The leaf `uncached` of an input of nothing hides nothing.
        hides_input, hides_output = pl.col("main_in") > 0, pl.col("main_out") > 0
        no_writes = pl.all_horizontal(map(self._unknown, _IN[2:5]))
        context = _single_input()
        if self.says("context_tokens"):
            context = pl.coalesce("context_tokens", context)
        flags = [
            _bit(hides_input & self._unknown("in_cache_read"), Flag.CACHED_UNKNOWN),
            _bit(hides_input & no_writes, Flag.WRITTEN_UNKNOWN),
            _bit(hides_output & self._unknown("out_reasoning"), Flag.REASONING_UNKNOWN),
            _bit(pl.col("main_in").is_null(), Flag.INPUT_UNKNOWN),
            _bit(pl.col("main_out").is_null(), Flag.OUTPUT_UNKNOWN),
            _bit(context.is_null(), Flag.CONTEXT_UNKNOWN),
            pl.col("status").cast(pl.Int32) * (1 << STATUS_SHIFT),
        ]
        if self.says("usage_source"):
            flags.append(_bit(_is_estimated(), Flag.ESTIMATED))
        if self.says("complete"):
            flags.append(_bit(~pl.col("complete"), Flag.INCOMPLETE))
        if self.says("stream"):
            flags.append(_bit(pl.col("stream"), Flag.STREAM))
            flags.append(_bit(~pl.col("stream"), Flag.NOT_STREAM))
        return {
            "context_band": _band(context),
            "flags": pl.sum_horizontal(flags),
            "outcomes": self._outcomes(),
        }

    def _outcomes(self) -> pl.Expr:
        """What an attempt is beside well done and final, as bits."""
        met = {name: [pl.col("status").is_in(numbers)] for name, numbers in _ENDS.items()}
        met |= {
            "retried": self._if_said("attempt", pl.col("attempt") > 1)
            + self._if_said("retry_of", pl.col("retry_of").is_not_null()),
            "hedged": self._if_said("hedged", pl.col("hedged")),
            "fallback": self._if_said("fallback_from", pl.col("fallback_from").is_not_null()),
            "estimated": self._if_said("usage_source", _is_estimated()),
            "incomplete": self._if_said("complete", ~pl.col("complete")),
        }
        bits = [_bit(pl.any_horizontal(each), BITS[name]) for name, each in met.items() if each]
        return pl.sum_horizontal(bits).cast(pl.Int16)

    def _if_said(self, name: str, condition: pl.Expr) -> list[pl.Expr]:
        return [condition] if self.says(name) else []

    def says(self, *names: str) -> bool:
        """Whether some row says each of these."""
        return self.said.issuperset(names)

    def _replaces(self) -> pl.Expr:
        """Whether a row says something that only a correction may."""
        named = ("supersedes", "supersedes_source")
        said = [pl.col(name).is_not_null() for name in named if self.says(name)]
        return pl.any_horizontal(pl.col("revision") > 0, *said)

    def _plus(self, *names: str) -> pl.Expr:
        said = [pl.col(name).fill_null(0) for name in names if self.says(name)]
        return pl.sum_horizontal(said) if said else pl.lit(0, pl.Int64)

    def _unknown(self, name: str) -> pl.Expr:
        return pl.col(name).is_null() if self.says(name) else pl.lit(value=True)

    def _main(self, main: str, others: Sequence[str], total: str) -> pl.Expr:
        if not self.says(total):
            return pl.col(main)
        return pl.coalesce(main, pl.col(total) - self._plus(*others))

    def _suspect_side(self, main: str, others: Sequence[str], total: str) -> Sequence[pl.Expr]:
        known = self._plus(*others)
        said = [pl.col(name).is_not_null() for name in others if self.says(name)]
        alone = self._unknown(total) & self._unknown(main)
        rules = [alone & pl.any_horizontal(said)] if said else []
        if self.says(total):
            rules.append(known > pl.col(total))
        if self.says(total, main):
            differs = pl.col(main).fill_null(0) + known != pl.col(total)
            rules.append(pl.col(main).is_not_null() & differs)
        return rules

    def _contradictions(self) -> Sequence[pl.Expr]:
        """Of two that are said, of which one follows from the other."""
        whole = pl.col("main_in") + self._plus(*_IN[1:])
        return (
            *self._if_said("context_tokens", pl.col("context_tokens") > whole),
            *self._if_said("subject", pl.col("subject") != pl.col("customer_ref")),
        )

    def _beyond_side(self) -> Sequence[pl.Expr]:
        """Of each side whether its kinds of content are more than its tokens."""
        whole = pl.col("main_in") + self._plus(*_IN[1:])
        cached = pl.coalesce("in_cache_read", whole) if self.says("in_cache_read") else whole
        output = pl.col("main_out") + self._plus(*_OUT[1:])
        tokens = {"input": whole, "cache_read": cached, "output": output}
        return [_of_kinds(kinds) > tokens[side] for side, kinds in KINDS_OF.items()]

    def _absurd(self) -> pl.Expr:
        limit = pl.min_horizontal(
            pl.col("requests") * LEAF_TOKENS_PER_REQUEST_MAX, pl.lit(LEAF_TOKENS_MAX, pl.Int64)
        )
        leaves = [name for name in (*_IN, *_OUT) if self.says(name)]
        return pl.max_horizontal(*leaves, "main_in", "main_out") > limit


def suspect_energy(frame: pl.DataFrame) -> pl.Series:
    """Readings that a rule of the wire may refuse."""
    return frame.select(
        pl.any_horizontal(
            pl.col("bad_time"),
            _not_json(),
            pl.col("gpu_uuid").str.starts_with("MIG-"),
            pl.col("sampled_at") != pl.col("time"),
        )
        .fill_null(value=False)
        .alias("suspect")
    ).to_series()


def untimely(frame: pl.DataFrame, *, now: int, earliest: int) -> list[tuple[int, Reason, str]]:
    """(row, reason, detail) of rows with a time that is still to come or lies before `earliest`,
    over too long a span, or whose `time` is not when they ended; all in µs."""
    limit = now + FUTURE_TOLERANCE // MICROSECOND
    names = [name for name in (*_ATTEMPT_TIMES, *_OTHER_TIMES) if name in frame.columns]
    spanned = [name for name in _ATTEMPT_TIMES if name in names]
    if _are_timely(frame, names, spanned, since=earliest, until=limit):
        return []
    first, last = pl.min_horizontal(names), pl.max_horizontal(names)
    length = pl.max_horizontal(spanned) - pl.min_horizontal(spanned)
    outside = frame.select(
        "row",
        *names,
        future=last > limit,
        past=first < earliest,
        long=length > SPAN_MAX // MICROSECOND,
        apart=_ended_apart(spanned),
    ).filter(pl.col("future") | pl.col("past") | pl.col("long") | pl.col("apart"))
    return [_untimely(row, names, limit, earliest) for row in outside.iter_rows(named=True)]


def _are_timely(
    frame: pl.DataFrame, names: Sequence[str], spanned: Sequence[str], *, since: int, until: int
) -> bool:
    """Whether all times together lie as those of each row have to: of most batches they do."""
    firsts = {n: first for n in names if isinstance(first := frame[n].min(), int)}
    lasts = {n: last for n in firsts if isinstance(last := frame[n].max(), int)}
    if not firsts:
        return True
    within = min(firsts.values()) >= since and max(lasts.values()) <= until
    of_span = [name for name in spanned if name in firsts]
    if not within or not of_span:
        return within
    length = max(lasts[name] for name in of_span) - min(firsts[name] for name in of_span)
    if len(of_span) == 1 or length < END_TOLERANCE // MICROSECOND:
        return length <= SPAN_MAX // MICROSECOND
    return (
        length <= SPAN_MAX // MICROSECOND and not frame.select(_ended_apart(spanned).any()).item()
    )


def _ended_apart(names: Sequence[str]) -> pl.Expr:
    """Whether `ended_at` lies an hour or more beside `time`, or any other time behind it."""
    behind = pl.max_horizontal(names) - pl.col("time") >= END_TOLERANCE // MICROSECOND
    if "ended_at" not in names:
        return behind
    before = pl.col("time") - pl.col("ended_at") >= END_TOLERANCE // MICROSECOND
    return behind | before.fill_null(value=False)


def _untimely(
    times_of: dict[str, int | None], names: Sequence[str], limit: int, earliest: int
) -> tuple[int, Reason, str]:
    row = times_of["row"] or 0
    times = {name: value for name in names if (value := times_of[name]) is not None}
    if times_of["future"]:
        where = _field(next(name for name, value in times.items() if value > limit))
        detail = f"{where}: more than 5 minutes in the future; set the sender's clock and resend"
        return row, Reason.FUTURE_TIME, detail
    if times_of["past"]:
        where = _field(next(name for name, value in times.items() if value < earliest))
        since = (EPOCH + earliest * MICROSECOND).date()
        detail = f"{where}: before {since}; send the real time, or set TOKENLEDGER_EARLIEST_EVENT"
        return row, Reason.PAST_TIME, detail
    if times_of["long"]:
        detail = (
            f"data.started_at: more than {SPAN_MAX.days} days before the end; send shorter records"
        )
        return row, Reason.SPAN_TOO_LONG, detail
    said = next(name for name in ("ended_at", "first_token_at", "started_at") if name in times)
    apart = times["time"] - times[said]
    hours = f"{abs(apart) // (END_TOLERANCE // MICROSECOND)} h or more"
    where = f"{hours} {'after' if apart > 0 else 'before'} data.{said}"
    detail = f"time: {where}; send when it ended, in the same clock and zone"
    return row, Reason.TIMES_APART, detail


def _field(name: str) -> str:
    return name if name in ("time", "recordedtime") else f"data.{name}"


def _single_input() -> pl.Expr:
    # Of records already summed nobody knows the largest single input.
    whole = pl.col("uncached") + pl.col("cache_read") + pl.col("cache_write")
    return pl.when((pl.col("requests") == 1) & pl.col("main_in").is_not_null()).then(whole)


def _band(context: pl.Expr) -> pl.Expr:
    above = pl.sum_horizontal((context > edge).cast(pl.Int16) for edge in BAND_EDGES[1:])
    return above.fill_null(0).cast(pl.Int16)


def _bit(condition: pl.Expr, flag: int) -> pl.Expr:
    return condition.fill_null(value=False).cast(pl.Int32) * int(flag)


def _of_kinds(kinds: Sequence[str]) -> pl.Expr:
    said = pl.col(EXTRAS_SAID).str
    counts = [said.extract(rf"(?:^|;)modality\.{re.escape(kind)}=(\d+)") for kind in kinds]
    return pl.sum_horizontal(count.cast(pl.Int64, strict=False) for count in counts)


def _is_estimated() -> pl.Expr:
    return pl.col("usage_source").is_in(sorted(ESTIMATE_SOURCES))


def _not_json() -> pl.Expr:
    return ~pl.col("datacontenttype").str.contains(_JSON).fill_null(value=True)


def finer_than_amount(text: str) -> bool:
    """Whether a decimal has more than twelve places, or more digits before them than an amount."""
    number = Decimal(text)
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        return True
    # Not by `normalize`, which rounds to the digits of the context first.
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return -(exponent + zeros) > LEDGER_SCALE or number.adjusted() >= AMOUNT_DIGITS_MAX
