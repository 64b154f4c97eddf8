"""Events that nobody should send: what each field, name and number can be at worst."""

import json
from typing import Any

from hypothesis import strategies as st

from tests.support.usage import attempt, correction
from tests.wire.samples import counters_event, energy_event, usage_event

DEEP = 3_000
TEXTS = st.sampled_from(
    [
        *("", "\0", "a\0b", "\ud800", "x\udfff", "\ufffe", "\u202e\u2028", "\x7f\x1b[2J"),
        *("\r\n: x", "{}"),
        *("k" * 257, "k" * 100_000, "ä" * 256, "𐍈" * 256, "'; DROP TABLE receipt; --", "{action}"),
        *("../../evil", "%s%n", "NaN", "-0", "null"),
    ]
)
NUMBERS = st.sampled_from(
    [
        *(-1, 0, 10**12, 10**12 + 1, 10**15, 10**16, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64),
        *(-(2**63), 10**30, 10**400, 1e16, 1e308, -0.0, 0.1, 1e-400),
    ]
)
TIMES = st.sampled_from(
    [
        *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "0001-01-01T00:20:00-00:30"),
        *("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-23:59", "1970-01-01T00:00:00Z"),
        *("2014-12-31T23:59:59.999999Z", "2015-01-01T00:00:00Z", "2016-12-31T23:59:60Z"),
        *("10000-01-01T00:00:00Z", "0000-00-00T00:00:00Z", "-0001-01-01T00:00:00Z", "1e9"),
        *("2026-08-06T11:00:00", "2026-08-06T11:00:00Z" + "\0", "2026-08-06T11:00:00.9999999999Z"),
    ]
)
AMOUNTS = st.sampled_from(
    ["1e64", "1e-64", "1." + "0" * 40 + "1", "9" * 60, "-1e40", "Infinity", "1_0", "٣", "0.1"]
).map(lambda amount: {"amount": amount, "currency": "EUR"})
DEEP_VALUES = st.sampled_from(["[" * 90 + "]" * 90, '{"a": {"b": [{}]}}']).map(json.loads)
VALUES = st.one_of(TEXTS, NUMBERS, TIMES, AMOUNTS, DEEP_VALUES, st.none(), st.booleans())
# Broken as text, so that no writer of JSON makes them.
BROKEN = st.sampled_from(
    [
        *(b"{", b"1", b'"', b"[]", b"{}", b"null", b"\xff\xfe{}", b'{"type":"\xc3"}', b"\0"),
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b'{"id":' + b"9" * 5_000 + b"}",
        b'{"id":NaN}',
    ]
)


def _samples() -> list[dict[str, Any]]:
    return [
        usage_event(tags={"a": "b"}, identity_source={"a": "b"}, other=1),
        usage_event(provider_cost={"amount": "0.1", "currency": "EUR"}),
        attempt("bent"),
        correction("bent.1", of="bent", revision=1),
        energy_event(power_mw=3, sampled_at="2026-08-06T06:31:12.418Z"),
        counters_event(run_started_at="2026-08-06T06:00:00Z"),
    ]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every field and element, at any depth."""
    if not isinstance(value, dict | list):
        return [at] if at else []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    below = [place for key, item in items for place in places(item, (*at, key))]
    return [*([at] if at else []), *below]


@st.composite
def bent_events(draw: st.DrawFn) -> dict[str, Any]:
    """An event with one to three of its values or names made hostile."""
    event: dict[str, Any] = json.loads(json.dumps(draw(st.sampled_from(_samples()))))
    for _ in range(draw(st.integers(1, 3))):
        *parents, leaf = draw(st.sampled_from(places(event)))
        holder: Any = event
        for name in parents:
            holder = holder[name]
        if isinstance(holder, dict) and draw(st.integers(0, 3)) == 0:
            holder[draw(TEXTS)] = holder.pop(leaf)
        else:
            holder[leaf] = draw(VALUES)
    return event


@st.composite
def hostile_lines(draw: st.DrawFn) -> bytes:
    """A line that is no event, an event bent out of shape, or one that says a thing twice."""
    kind = draw(st.sampled_from(["broken", "bent", "bent", "bent", "twice"]))
    if kind == "broken":
        return draw(BROKEN)
    line = json.dumps(draw(bent_events())).encode()
    if kind == "twice":
        name = draw(st.sampled_from([b"id", b"source", b"time", b"usage", b"uncached", b"a"]))
        return line.replace(b'"%s":' % name, b'"%s": null, "%s":' % (name, name), 1)
    return line
