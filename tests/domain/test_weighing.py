"""What is weighed in columns of words is what the rule says, worked out with fractions."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.cost.slots import Ran, weigh
from ledger.domain.cost.weights import Weights
from ledger.domain.metering.times import micros
from tests.support.examples import at_depth

BASE = micros(datetime(2026, 3, 2, 10, tzinfo=UTC))
QUARTER_US = 900 * 1_000_000
WHOLE = 2**62
Attempt = Mapping[str, int]
TOKENS = (
    st.sampled_from([0, 1]) | st.integers(0, 10**4) | st.integers(0, 10**12) | st.integers(0, 2**57)
)


@st.composite
def attempt(draw: st.DrawFn) -> dict[str, int]:
    """Anything that may have run, from before the window to after it, or been taken back."""
    moments = sorted(draw(st.integers(-(10**9), 2 * 10**9)) for _ in range(3))
    start, first, end = moments[0], max(moments[1], moments[0] + 1), moments[2] + 2
    seen = draw(st.booleans())
    return {
        "engine": draw(st.integers(0, 1)),
        "usage_key_id": draw(st.integers(-1, 3)),
        **{"start": BASE + start, "read": BASE + (first if seen else end)},
        **{"wrote": BASE + (first if seen else start), "end": BASE + end},
        "sign": draw(st.sampled_from([1, 1, 1, -1])),
        **{n: draw(TOKENS) for n in ("uncached", "cache_read", "cache_write", "output")},
        "context": draw(st.integers(0, 10**6)),
    }


WEIGHT = st.sampled_from([0, 1]) | st.integers(0, 10**6)
WEIGHTS = st.builds(Weights, st.just(1), *[WEIGHT] * 6)


@settings(max_examples=at_depth(60))
@given(
    st.lists(attempt(), min_size=1, max_size=6),
    WEIGHTS,
    st.sampled_from([15, 60, 900]),
    st.sampled_from([None, None, 1, 7, 2_048, 2**40]),
)
def test_each_weighs_of_a_slot_what_the_rule_says(
    attempts: list[dict[str, int]], weights: Weights, slot_s: int, chunk: int | None
) -> None:
    work = weigh(
        Ran.of_frame(pl.DataFrame(attempts), BASE), weights, engines=2, slot_s=slot_s, chunk=chunk
    )
    weighed = dict(_rule(attempts, weights, slot_s * 1_000_000, chunk))
    for key in {each["usage_key_id"] for each in attempts} - {0}:
        own = {slot: parts[key][0] for slot, parts in weighed.items() if key in parts}
        wholes = {slot: sum(part[0] for part in parts.values()) for slot, parts in weighed.items()}
        assert work.slots_of(key) == {
            slot: part * WHOLE // wholes[slot] for slot, part in own.items()
        }
    pools = [slot**3 + 1 for slot in range(900 // slot_s)]
    assert work.kinds_by(pools) == _kinds(weighed, pools)
    assert list(work.tokens) == _tokens(attempts)


def _rule(
    attempts: Sequence[Attempt], weights: Weights, slot_us: int, chunk: int | None
) -> Iterator[tuple[int, dict[int, list[int]]]]:
    """By slot and key: what it weighs in all, of what it read from a cache and wrote to one, and of
    what it answered; those that weigh anything."""
    wholes = [_whole(each, weights, chunk) for each in attempts]
    most = max(max(whole[:4]) for whole in wholes)
    coarser = 2 ** max(most.bit_length() - 44, 0)
    for slot in range(QUARTER_US // slot_us):
        since, until = BASE + slot * slot_us, BASE + (slot + 1) * slot_us
        parts: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for each, whole in zip(attempts, wholes, strict=True):
            for at, weight in enumerate(
                _in_slot(each, attempts, [leg // coarser for leg in whole], since, until)
            ):
                parts[each["usage_key_id"]][at] += weight
        heavy = {key: part for key, part in parts.items() if part[0] > 0}
        if heavy:
            yield slot, heavy


def _begun(each: Attempt) -> int:
    asks = each["uncached"] or each["cache_read"] or each["cache_write"]
    return int(bool(asks) and each["read"] - each["wrote"] <= 1)


def _whole(each: Attempt, weights: Weights, chunk: int | None) -> list[int]:
    fine, begun = 3_600 * 2**16, _begun(each)
    read = each["uncached"] + each["cache_write"]
    steps = begun * (max(ceil(Fraction(read, chunk)), 1) if chunk else 1)
    cached = [
        each["cache_read"] * weights.cache_read * fine,
        each["cache_write"] * weights.cache_write * fine,
    ]
    context = Fraction(each["output"] * weights.context * fine * each["context"], 1_000)
    return [
        each["uncached"] * weights.uncached * fine + sum(cached),
        each["output"] * weights.output * fine + floor(context),
        max(each["output"] - begun, 0) * weights.step * fine,
        steps * weights.step * fine,
        *cached,
    ]


def _in_slot(
    each: Attempt, attempts: Sequence[Attempt], whole: Sequence[int], since: int, until: int
) -> tuple[int, int, int, int]:
    since, until = max(since, each["start"]), min(until, each["end"])
    if since >= until:
        return 0, 0, 0, 0
    asked, written, stepped, begun, *cached = whole
    asking = _cut(asked, each["start"], each["read"], since, until)
    asking += _stepped(each, attempts, begun, ("start", "read"), since, until, beside=1)
    asking *= each["sign"]
    answering = _cut(written, each["wrote"], each["end"], since, until)
    answering += _stepped(each, attempts, stepped, ("wrote", "end"), since, until, beside=0)
    answering *= each["sign"]
    from_cache, to_cache = (floor(Fraction(asking * c, asked)) if asked else 0 for c in cached)
    return asking + answering, from_cache, to_cache, answering


def _cut(whole: int, first: int, last: int, since: int, until: int) -> int:
    upto = [
        floor(Fraction(whole * (min(max(edge, first), last) - first), last - first))
        for edge in (since, until)
    ]
    return upto[1] - upto[0]


def _stepped(
    each: Attempt,
    attempts: Sequence[Attempt],
    steps: int,
    leg: tuple[str, str],
    since: int,
    until: int,
    *,
    beside: int,
) -> int:
    """Its part of steps by time that it shared with those who wrote, in 1/65536 µs."""
    first, last = each[leg[0]], each[leg[1]]
    since, until = max(since, first), min(until, last)
    others = [a for a in attempts if a["engine"] == each["engine"]]
    moments = {a[name] for a in others for name in ("wrote", "end")}
    inside = {BASE, BASE + QUARTER_US}
    edges = sorted(min(max(m, BASE), BASE + QUARTER_US) for m in moments | inside)
    share = _share_upto(until, edges, others, beside) - _share_upto(since, edges, others, beside)
    return floor(Fraction(steps * share, (last - first) * 2**16)) if since < until else 0


def _share_upto(moment: int, edges: Sequence[int], others: Sequence[Attempt], beside: int) -> int:
    share = 0
    for begin, end in pairwise(edges):
        length = min(end, moment) - begin
        if length > 0:
            there = sum(a["sign"] for a in others if a["wrote"] <= begin < a["end"])
            running = max(there, 0) + beside
            share += floor(Fraction(length * 2**16, running)) if running else 0
    return share


def _kinds(weighed: Mapping[int, Mapping[int, Sequence[int]]], pools: Sequence[int]) -> list[int]:
    kinds = [0, 0, 0, 0]
    for slot, parts in weighed.items():
        whole = sum(part[0] for part in parts.values())
        used = [
            sum(column) for column in zip(*(p for key, p in parts.items() if key > 0), strict=True)
        ] or [0, 0, 0, 0]
        for at, weight in enumerate((used[0] - sum(used[1:]), *used[1:])):
            kinds[at] += max(weight, 0) * WHOLE // whole * pools[slot]
    return kinds


def _tokens(attempts: Sequence[Attempt]) -> list[int]:
    legs = dict.fromkeys(("uncached", "cache_read", "cache_write"), ("start", "read"))
    legs["output"] = ("wrote", "end")
    return [
        max(
            sum(
                each["sign"] * _cut(each[n], each[a], each[b], BASE, BASE + QUARTER_US)
                for each in attempts
                if each["usage_key_id"] > 0
            ),
            0,
        )
        for n, (a, b) in legs.items()
    ]
