"""What nobody would send, and somebody will: odd values, and requests made of them, by a seed."""

import gzip
import json
from collections.abc import Iterator
from copy import deepcopy
from random import Random
from typing import Any
from urllib.parse import quote, quote_from_bytes

LONG = "x" * 5_000
ODD_TEXTS = (
    *("", " ", "\0", "a\0b", "\ud800", "a\r\nX-Y: z", "../../evil", "名\u202e", "x" * 257, LONG),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2024-02-30T00:00:00Z", "2024-01-01"),
    *("2024-01-01T00:00:00+25:00", "0001-01-01T00:00:00+14:00", "1e400", "NaN", "-0", "1_0", "١"),
    *("Mars/Phobos", "factory", "acme", "EUR", "eur", "'; DROP TABLE charge; --", "%00", "{}"),
    *("bnVsbA", "W10", "WzFd", "WyJcdTAwMDAiXQ", "WzEwMDAwMDAwMDAwMDAwMDAwMDAwMDAwXQ", "W251bGxd"),
)
ODD_NUMBERS = (
    *(0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400),
    *(1.5, -0.0, 1e308),
)
ODD: tuple[Any, ...] = (*ODD_TEXTS, *ODD_NUMBERS, None, True, False, [], {}, [None], {"": {}})
ODD_BYTES = (b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"%", b"\x00", b"+", b"&&=&", b"=")
RAW_BODIES = (
    *(b"", b"\xff", b"null", b"[]", b"{}", b"[" * 5_000, b'{"a":' * 2_000, b"1", b'"\\ud800"'),
    *(b"NaN", b'{"a":NaN}', b'{"a":1,"a":2}', b"\xef\xbb\xbf{}", b"{}{}", b"\n\n\n", b"\0"),
)


def odd(random: Random) -> Any:
    """One odd value."""
    # A value of its own: what is put into another may be changed there.
    return deepcopy(random.choice(ODD))


def encoded(random: Random, value: Any) -> str:
    """A value as it may stand in a path or a query."""
    if random.random() < 0.15:
        return quote_from_bytes(random.choice(ODD_BYTES))
    return quote(str(value), safe="", errors="surrogatepass")


def odd_query(random: Random, names: list[str]) -> str:
    """A query of some known names and some that are not, with odd values."""
    known = [*names, "entity", "nothing", "\0", "limit"]
    pairs = [
        f"{encoded(random, random.choice(known))}={encoded(random, odd(random))}"
        for _ in range(random.randint(0, 4))
    ]
    return "&".join(pairs)


def mutated(random: Random, value: Any) -> Any:
    """A value with some of its parts replaced, left out or added."""
    made = deepcopy(value)
    for _ in range(random.randint(1, 3)):
        holder, key = random.choice(list(_places({"": made})))
        if random.random() < 0.15:
            holder[key] = [holder[key]] * 2
        elif random.random() < 0.15 and isinstance(holder, dict) and key != "":
            del holder[key]
        elif random.random() < 0.2 and isinstance(holder[key], dict):
            holder[key][str(random.choice(ODD_TEXTS))] = odd(random)
        elif key != "":
            holder[key] = odd(random)
    return made


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in list(parts):
        yield value, key
        if isinstance(part, dict | list):
            yield from _places(part)


def as_bytes(random: Random, value: Any) -> bytes:
    """JSON of a value, now and then not quite."""
    if random.random() < 0.1:
        return random.choice(RAW_BODIES)
    body = json.dumps(value).encode()
    if random.random() < 0.1:
        at = random.randrange(len(body))
        return body[:at] + bytes([random.randrange(256)]) + body[at + 1 :]
    return body


def odd_events(random: Random, event: dict[str, Any], number: int) -> tuple[bytes, dict[str, str]]:
    """A body of events in one of the forms, and its headers."""
    events = [
        mutated(random, {**event, "id": f"f-{number}-{n}"}) for n in range(random.randint(1, 4))
    ]
    form = random.choice(["json", "x-ndjson", "cloudevents+json", "cloudevents-batch+json"])
    if form == "x-ndjson":
        body = b"\n".join(as_bytes(random, one) for one in events)
    else:
        body = as_bytes(random, events if "batch" in form else events[0])
    headers = {"Content-Type": f"application/{form}"}
    if random.random() < 0.2:
        body = gzip.compress(body, mtime=0)[: random.choice([None, -3])]
        headers["Content-Encoding"] = "gzip"
    if random.random() < 0.2:
        names = ("source", "producer", "epoch", "sequence", "count", "encoding")
        known = {"source": "/gateways/a", "encoding": "ndjson", "epoch": "e", "producer": "p"}
        headers |= {
            f"tl-{name}": known.get(name, str(number)) if random.random() < 0.8 else "-1"
            for name in names
            if random.random() < 0.95
        }
    return body, headers
