"""Random records of a seed: events with duplicates, conflicts, corrections, gaps and poison."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from ledger.wire.batch import COLUMNAR, NDJSON, BatchHeader
from ledger.wire.columnar_write import encode_columnar
from tests.torture.model import Attempt, Delivery, Identity

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START_US = 1_786_000_500_000_000
# Customers by the entity that bills them; the last of those who are served is no customer of any.
ENTITIES = {"e": ("acme", "globex"), "other": ("initech",)}
KNOWN = frozenset(name for names in ENTITIES.values() for name in names)
CUSTOMERS = ("acme", "acme", "globex", "initech", "stranger")
# Of those whose clocks were set back or run behind, by how much: seconds, a day, months.
CLOCKS_US = (0, 0, 0, 0, -90_000_000, -86_400_000_000, -5_000_000_000_000)
POISON = (b"{nothing", b'{"id": 1}', b"\xff\xfe\xfd", b"[1, 2", b'{"specversion":"1.0"}')
KEYED, SEQUENCED, MENDS = "gw/keyed", "gw/sequenced", "gw/mends"
# By the first word of an identity: whose ids they are. Nobody ever hears of the last.
SOURCES = {"k": KEYED, "m": MENDS, "u": "gw/unheard"}
HEAVY_EVENTS, HEAVY_FROM, LATE_FROM = 8_000, 1_000_000, 4_000_000
Headers = list[tuple[str, bytes]]
# Clocks that were never set, and those that run years ahead.
TIMES = {"before all": "1970-01-01T00:00:07Z", "to come": "2199-12-31T23:59:59Z"}


class Bad(NamedTuple):
    """An item that nobody may count, and of which kind it is."""

    kind: str
    line: bytes


@dataclass(frozen=True)
class Sent:
    """A Kafka record, and what is in it."""

    body: bytes
    headers: Headers
    partition: int
    said: Delivery
    poisons: tuple[str, ...] = ()


@dataclass
class Sender:
    """Makes the records of a seed."""

    draw: random.Random
    partitions: int
    records: list[Sent] = field(default_factory=list)
    missing: set[tuple[str, int]] = field(default_factory=set)
    number: int = 0

    def attempt(self, identity: Identity, like: Attempt | None = None, **said: Any) -> Attempt:
        """A content that nobody has sent before."""
        self.number += 1
        started = START_US + self.draw.randrange(0, 4_000_000_000) + self.draw.choice(CLOCKS_US)
        first = started + self.draw.choice([0, 1, 400_000, 900_000_000])
        base = like or Attempt(
            identity=identity,
            uncached=0,
            customer=self.draw.choice(CUSTOMERS),
            project=self.draw.choice(["p1", "p2"]),
            model=self.draw.choice(["llama", "qwen"]),
            tier=self.draw.choice(["standard", "batch"]),
            engine=self.draw.choice(["vllm-1", "vllm-2"]),
            started=started,
            first_token=first,
            ended=first + self.draw.choice([0, 1, 7_777_777, 1_000_000_000]),
            cache_read=self.draw.choice([0, 0, 512, 40_000]),
            visible=self.draw.randrange(500),
            reasoning=self.draw.choice([0, 33]),
        )
        return replace(base, identity=identity, uncached=100 + self.number, **said)

    def send(
        self,
        said: Delivery,
        body: bytes,
        header: BatchHeader | None,
        lane: int,
        *poisons: str,
    ) -> None:
        """Add a record; `poisons` are the kinds of what nobody may count in it."""
        headers = header.to_headers() if header is not None else []
        self.records.append(Sent(body, headers, lane % self.partitions, said, poisons))


def make_records(seed: int, *, size: int = 60) -> tuple[list[Sent], set[tuple[str, int]]]:
    """The records of a seed in the order they are sent, and the numbers that never come."""
    draw = random.Random(seed)
    sender = Sender(draw, partitions=partitions_of(seed))
    originals: list[Attempt] = []
    for producer, epoch in (("p0", 1), ("p0", 2), ("p1", 7)):
        originals += _send_batches(sender, producer, epoch, size // 6)
    originals += _send_keyed(sender, size // 2)
    _send_mends(sender, originals, size // 6)
    _send_tangles(sender, size // 15)
    _send_poison(sender, size // 12)
    records = sender.records
    return _mix(draw, records), sender.missing


def _mix(draw: random.Random, records: Sequence[Sent]) -> list[Sent]:
    """One producer beside the other, each by the seed in order, nearly so, or in none at all."""
    reach = draw.choice([0.0, 0.1, 1.0])
    lanes: dict[object, list[Sent]] = {}
    for one in records:
        lanes.setdefault(one.said.place and one.said.place[:2], []).append(one)
    placed = [
        (n / len(lane) * (1 - reach) + draw.random() * reach, one)
        for lane in lanes.values()
        for n, one in enumerate(lane)
    ]
    return [one for _, one in sorted(placed, key=lambda at: at[0])]


def heavy_record(seed: int) -> Sent:
    """A batch larger than what lies between a worker and PostgreSQL: its COPY waits for more."""
    sender = Sender(random.Random(f"heavy {seed}"), partitions_of(seed), number=HEAVY_FROM)
    place = ("heavy", 1, 1)
    said = []
    for n in range(HEAVY_EVENTS):
        one = sender.attempt((*place, n))
        said.append(replace(one, first_token=one.started, ended=one.started + n))
    header = BatchHeader(SEQUENCED, "heavy", 1, 1, HEAVY_EVENTS, COLUMNAR)
    events = [event_of(one, f"1.1.{n}", SEQUENCED) for n, one in enumerate(said)]
    lane = sender.draw.randrange(8)
    sender.send(Delivery(tuple(said), 0, place), encode_columnar(events, header), header, lane)
    return sender.records[0]


def late_mends(seed: int, old: Sequence[Sent]) -> list[Sent]:
    """Corrections of usage that came days ago, of a revision that nobody else has."""
    sender = Sender(random.Random(f"late {seed}"), partitions_of(seed), number=LATE_FROM)
    originals = [a for one in old for a in one.said.attempts if a.target is None]
    for one in sender.draw.sample(originals, 3):
        mend = sender.attempt(("mend", *one.identity, 5), one, target=one.identity, revision=5)
        line = line_of(sender.draw, event_of(mend, f"late-{mend.uncached}", MENDS))
        sender.send(Delivery((mend,)), line, None, sender.draw.randrange(8))
    return sender.records


def partitions_of(seed: int) -> int:
    """How many partitions the topic of a seed has."""
    return 3 + seed % 4


def _send_batches(sender: Sender, producer: str, epoch: int, count: int) -> list[Attempt]:
    draw, kept = sender.draw, list[Attempt]()
    lane = draw.randrange(8)
    for sequence in range(1, count + 1):
        if sequence < count and draw.random() < 0.08:
            sender.missing.add((f"{producer}/{epoch}", sequence))
            continue
        size = draw.randrange(1, 6)
        place = (producer, epoch, sequence)
        one = [sender.attempt((*place, n)) for n in range(size)]
        bad = bad_line(draw, (*place, size)) if draw.random() < 0.15 else None
        sender_record(sender, one, place, bad=bad, lane=lane)
        if draw.random() < 0.3:
            # Sent again, as bytes or columns as it comes, perhaps after a rebalance.
            sender_record(sender, one, place, bad=bad, lane=lane + draw.randrange(2))
        elif draw.random() < 0.15:
            other = [sender.attempt(a.identity, a) for a in one]
            sender_record(sender, other, place, bad=bad, lane=lane)
        elif not bad:
            kept += one
    return kept


def sender_record(
    sender: Sender, said: Sequence[Attempt], place: Identity, *, bad: Bad | None, lane: int
) -> None:
    """A numbered batch; a bad one ends in an event that nobody may count."""
    producer, epoch, sequence = str(place[0]), int(place[1]), int(place[2])
    columnar = bad is None and sender.draw.random() < 0.4
    count = len(said) + (bad is not None)
    encoding = COLUMNAR if columnar else NDJSON
    header = BatchHeader(SEQUENCED, producer, epoch, sequence, count, encoding)
    events = [event_of(one, f"{epoch}.{sequence}.{n}", SEQUENCED) for n, one in enumerate(said)]
    if columnar:
        body = encode_columnar(events, header)
    else:
        lines = [line_of(sender.draw, event) for event in events]
        body = b"\n".join([*lines, bad.line] if bad else lines)
    poisons = [bad.kind] if bad else []
    sender.send(Delivery(tuple(said), len(poisons), place), body, header, lane, *poisons)


def bad_line(draw: random.Random, place: Identity) -> Bad:
    """What no batch may count: broken, not UTF-8, negative, of another source or another place."""
    _, epoch, sequence, ordinal = place
    event_id = f"{epoch}.{sequence}.{ordinal}"
    event = event_of(Sender(draw, 1).attempt(place), event_id, SEQUENCED)
    kind = draw.choice(["broken", "bytes", "negative", "source", "place", *TIMES])
    if kind == "broken":
        return Bad(kind, b"{broken")
    if kind == "bytes":
        return Bad(kind, b'{"id": "\xff"}')
    if kind == "negative":
        event["data"]["usage"]["input"]["uncached"] = -1
    elif kind == "source":
        event["source"] = f"{SEQUENCED}-2"
    elif kind == "place":
        event["id"] = f"{epoch}.{sequence}.{int(ordinal) + 1}"
    else:
        event |= _at_another_time(event, kind)
    return Bad(kind, json.dumps(event).encode())


def bad_event(draw: random.Random) -> Bad:
    """What cannot be counted by its id: bytes that are no event, or one that breaks a rule."""
    event = event_of(Sender(draw, 1).attempt(("k", "bad")), f"bad-{draw.random()}", KEYED)
    kinds = ["bytes", "negative", "form", "type", "no time", "text", "overflow", *TIMES]
    kind = draw.choice(kinds)
    if kind == "bytes":
        return Bad(kind, draw.choice(POISON))
    if kind == "text":
        return _with_bad_text(draw, event)
    if kind == "overflow":
        most = draw.choice([10**15 + 1, 2**53, 2**63 - 1, 2**63, 10**40])
        event["data"]["usage"]["input"]["uncached"] = most
    elif kind == "negative":
        event["data"]["usage"]["output"]["visible"] = -7
    elif kind == "form":
        event["source"] = SEQUENCED
    elif kind == "type":
        event["type"] = "inference.usage.v9"
    elif kind == "no time":
        del event["time"]
    else:
        event |= _at_another_time(event, kind)
    return Bad(kind, json.dumps(event).encode())


def _at_another_time(event: dict[str, Any], kind: str) -> dict[str, Any]:
    """The event of a sender whose clock was never set, or runs years ahead."""
    times = dict.fromkeys(("started_at", "first_token_at", "ended_at"), TIMES[kind])
    return {"time": TIMES[kind], "data": event["data"] | times}


def _with_bad_text(draw: random.Random, event: dict[str, Any]) -> Bad:
    """NUL or half a character where text is kept, in a value or in a key."""
    mark = "\u2603"
    where = draw.choice(["id", "project_id", "tags", "customer_id"])
    if where == "id":
        event["id"] += mark
    elif where == "tags":
        event["data"]["tags"] = {mark: "x"}
    else:
        event["data"][where] += mark
    kind, text = draw.choice([("NUL", "\\u0000"), ("half a character", "\\ud800")])
    return Bad(kind, json.dumps(event).replace("\\u2603", text).encode())


def _send_keyed(sender: Sender, records: int) -> list[Attempt]:
    draw, kept = sender.draw, list[Attempt]()
    for number in range(records):
        # Some ids look like places of numbered batches.
        name = draw.choice(["k-{}-{}", "k/1/{}/{}"])
        count = draw.choice([1, 1, 3])
        one = [sender.attempt(("k", name.format(number, n))) for n in range(count)]
        bad = [bad_event(draw)] if draw.random() < 0.15 else []
        _keyed_record(sender, one, bad)
        if draw.random() < 0.3:
            _keyed_record(sender, one[:2], [])
        elif draw.random() < 0.2:
            _keyed_record(sender, [sender.attempt(one[0].identity, one[0])], [])
            kept += one[1:]
        else:
            kept += one
    return kept


def _keyed_record(sender: Sender, said: Sequence[Attempt], bad: Sequence[Bad]) -> None:
    lines = [line_of(sender.draw, event_of(one, str(one.identity[1]), KEYED)) for one in said]
    body = b"\n".join([*lines, *(one.line for one in bad)])
    kinds = [one.kind for one in bad]
    sender.send(Delivery(tuple(said), len(bad)), body, None, sender.draw.randrange(8), *kinds)


def _send_mends(sender: Sender, originals: Sequence[Attempt], count: int) -> None:
    draw = sender.draw
    for number, one in enumerate(draw.sample(list(originals), min(count, len(originals)))):
        for revision in range(1, draw.choice([2, 2, 3])):
            identity = ("mend", *one.identity, revision)
            mend = sender.attempt(identity, one, target=one.identity, revision=revision)
            if draw.random() < 0.3:
                mend = replace(mend, started=mend.started - 60_000_000)
            if draw.random() < 0.3:
                place = ("mender", 10 * number + revision, 1)
                for _ in range(draw.choice([1, 1, 2])):
                    sender_record(sender, [mend], place, bad=None, lane=draw.randrange(8))
            else:
                _send_versions(sender, mend, f"mend-{number}-{revision}")


def _send_versions(sender: Sender, mend: Attempt, name: str) -> None:
    """A correction, perhaps twice or under another id, perhaps with a rival of its revision."""
    draw = sender.draw
    rivals = [sender.attempt(mend.identity, mend)] if draw.random() < 0.25 else []
    for said in (mend, *rivals):
        for _ in range(draw.choice([1, 1, 2])):
            event_id = f"{name}-{said.uncached}-{draw.choice('ab')}"
            line = line_of(draw, event_of(said, event_id, MENDS))
            sender.send(Delivery((said,)), line, None, draw.randrange(8))


def _send_tangles(sender: Sender, count: int) -> None:
    """Corrections of corrections, of themselves, in circles, and of what nobody ever hears of."""
    draw, found = sender.draw, list[Attempt]()
    for number in range(count):
        names = [("m", f"tangle-{number}-{n}") for n in range(4)]
        kind = draw.choice(["chain", "self", "circle", "unheard"])
        chain = [("u", f"never-{number}"), *names]
        if kind == "chain":
            found.append(sender.attempt(names[0]))
            pairs = list(pairwise(names))
        elif kind == "self":
            pairs = [(names[0], names[0])]
        elif kind == "circle":
            pairs = list(pairwise([*names, names[0]]))
        else:
            pairs = list(pairwise(chain[: draw.randrange(2, 5)]))
        for of, name in pairs:
            revision = draw.choice([1, 1, 7])
            found.append(sender.attempt(name, target=of, revision=revision))
    again = draw.sample(found, len(found) // 4)
    for one in draw.sample([*found, *again], len(found) + len(again)):
        line = line_of(draw, event_of(one, str(one.identity[1]), MENDS))
        sender.send(Delivery((one,)), line, None, draw.randrange(8))


def _send_poison(sender: Sender, count: int) -> None:
    for _ in range(count):
        lane, kind = sender.draw.randrange(8), sender.draw.random()
        broken = [("tl-source", b"x"), ("tl-epoch", b"y")]
        if kind < 0.4:
            bad = bad_event(sender.draw)
            sender.send(Delivery((), 1), bad.line, None, lane, bad.kind)
        elif kind < 0.6:
            # Cut short, a batch is none and takes no place: whole, it may still come.
            short = BatchHeader(SEQUENCED, "p0", 1, sender.draw.randrange(1, 9), 3)
            line = bad_line(sender.draw, ("p0", 1, short.sequence, 0))
            sender.send(Delivery((), 1), line.line, short, lane, "cut short")
        else:
            lane %= sender.partitions
            said = Sent(b"{}", broken, lane, Delivery((), 1), ("bad header",))
            sender.records.append(said)


def event_of(one: Attempt, event_id: str, source: str) -> dict[str, Any]:
    """An attempt as an event of a source."""
    data: dict[str, Any] = {
        "customer_id": one.customer,
        "project_id": one.project,
        "served_model": one.model,
        "service_tier_served": one.tier,
        "started_at": _time(one.started),
        "first_token_at": _time(one.first_token),
        "ended_at": _time(one.ended),
        "engine": {"instance": one.engine},
        "usage": {
            "input": {"uncached": one.uncached, "cache_read": one.cache_read, "cache_write": 0},
            "output": {"visible": one.visible, "reasoning": one.reasoning},
        },
    }
    kind = "inference.usage.v1"
    if one.target is not None:
        kind = "inference.usage.correction.v1"
        of = SOURCES.get(str(one.target[0]))
        data["revision"] = one.revision
        data["supersedes"] = one.target[1] if of else "/".join(map(str, one.target))
        data["supersedes_source"] = of or SEQUENCED
    head = {"specversion": "1.0", "id": event_id, "source": source, "type": kind}
    return head | {"time": _time(one.ended), "data": data}


def _time(micros: int) -> str:
    return (EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")


def line_of(draw: random.Random, event: dict[str, Any]) -> bytes:
    """An event in one of the many ways it may be written."""
    if draw.random() < 0.5:
        event = dict(reversed(event.items()))
    return json.dumps(event, separators=draw.choice([(",", ":"), (", ", ": ")])).encode()
