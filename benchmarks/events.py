"""Events as a gateway sends them: the same in every run, made by template so that many cost little.

They end in order over two hours, so that a batch reaches one or two windows, as at a gateway.
"""

import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import UUID

from ledger.wire.batch import COLUMNAR, MAX_BATCH_BYTES, NDJSON, BatchHeader
from ledger.wire.columnar_write import encode_columnar

CUSTOMERS = 100
MODELS = ("llama-70b", "llama-8b", "qwen-32b", "mixtral")
TIERS = ("standard", "standard", "batch", "priority")
# How many different attempts there are at least, a power of two; only ids and times differ beyond
# that.
VARIETY = 4_096
LANES = 4
RECORD_EVENTS = 1_400
COLUMNAR_EVENTS = 8_000
COLUMNAR_BODIES = 8
START = datetime(2026, 8, 6, 11, tzinfo=UTC)
SPAN_MS = 2 * 3_600_000
# Epoch of a sequenced run, and how an ordered id begins: three digits, to be replaced in place.
FIRST_TAG = 100


@dataclass(frozen=True, slots=True)
class Batch:
    """One record: its body, its place where the source is sequenced, and where it is sent."""

    body: bytes
    header: BatchHeader | None
    lane: int
    events: int

    def again(self, tag: int) -> "Batch":
        """The same events under another epoch or with later ids: new to the ledger."""
        old, new = (b'"id":"%03d' % n for n in (FIRST_TAG, tag))
        header = self.header
        if header is not None:
            header = BatchHeader(
                header.source, header.producer, tag, header.sequence, header.count, header.encoding
            )
        return Batch(self.body.replace(old, new), header, self.lane, self.events)


Make = Callable[[int], Iterator[Batch]]


def customers(named: int = CUSTOMERS) -> list[str]:
    """Every customer the events name, where they name so many."""
    return [f"c-{n:03d}" for n in range(named)]


def sequenced(
    events: int, *, record_events: int = RECORD_EVENTS, named: int = CUSTOMERS
) -> Iterator[Batch]:
    """NDJSON batches of four numbered producers, of `named` customers."""
    for header, lane, numbers in _places("sequenced", events, record_events):
        ids = _place_ids(header)
        body = _body(header.source, ids, numbers, events, named)
        yield Batch(body, header, lane, len(numbers))


def ordered(events: int) -> Iterator[Batch]:
    """NDJSON of a keyed source whose ids grow as they do in a ULID."""
    yield from _keyed("ordered", events, lambda n: f"{FIRST_TAG}{n:023d}")


def random_ids(events: int) -> Iterator[Batch]:
    """NDJSON of a keyed source whose ids are random UUIDs."""
    draw = random.Random(events)
    yield from _keyed("random", events, lambda _: str(UUID(int=draw.getrandbits(128), version=4)))


def single(events: int) -> Iterator[Batch]:
    """One event a record, as a gateway without batches writes them."""
    for n in range(events):
        body = _body("gw/single", [f"{FIRST_TAG}{n:023d}"], range(n, n + 1), events)
        yield Batch(body, None, n % LANES, 1)


def columnar(events: int, *, named: int = CUSTOMERS) -> Iterator[Batch]:
    """Columnar batches of four numbered producers; `events` rounded up to whole batches.

    A body names no place, so a few are encoded and each is sent many times in a row.
    """
    size = min(COLUMNAR_EVENTS, events)
    count = -(-events // size)
    bodies = [_columnar_body(size, n, named) for n in range(min(count, COLUMNAR_BODIES))]
    for number, (header, lane, _) in enumerate(_places("columnar", count * size, size)):
        yield Batch(bodies[number * len(bodies) // count], header, lane, size)


def _columnar_body(size: int, number: int, named: int) -> bytes:
    numbers = range(number * size, (number + 1) * size)
    header = BatchHeader("gw/columnar", "gateway-0", FIRST_TAG, 1, size, COLUMNAR)
    lines = _body(header.source, _place_ids(header), numbers, size * COLUMNAR_BODIES, named)
    body = encode_columnar([json.loads(line) for line in lines.splitlines()], header)
    assert len(body) <= MAX_BATCH_BYTES, f"{len(body)} bytes: lower COLUMNAR_EVENTS"
    return body


def _places(form: str, events: int, record_events: int) -> Iterator[tuple[BatchHeader, int, range]]:
    encoding = COLUMNAR if form == "columnar" else NDJSON
    for number, first in enumerate(range(0, events, record_events)):
        numbers = range(first, min(first + record_events, events))
        lane = number % LANES
        sequence = number // LANES + 1
        header = BatchHeader(
            f"gw/{form}", f"gateway-{lane}", FIRST_TAG, sequence, len(numbers), encoding
        )
        yield header, lane, numbers


def _place_ids(header: BatchHeader) -> Iterator[str]:
    return (f"{header.epoch}.{header.sequence}.{n}" for n in range(header.count))


def _keyed(form: str, events: int, event_id: Callable[[int], str]) -> Iterator[Batch]:
    for _, lane, numbers in _places(form, events, RECORD_EVENTS):
        body = _body(f"gw/{form}", map(event_id, numbers), numbers, events)
        yield Batch(body, None, lane, len(numbers))


def _body(
    source: str, ids: Iterable[str], numbers: range, events: int, named: int = CUSTOMERS
) -> bytes:
    who, spent = _attempts(named)
    most = len(who) - 1
    head = '{"specversion":"1.0","id":"'
    middle = f'","source":"{source}","type":"inference.usage.v1","time":"'
    lines = []
    for event_id, number in zip(ids, numbers, strict=True):
        ended = number * SPAN_MS // events
        # A fixed mixing of the number, so that no field follows from the one before.
        mixed = (number * 2_654_435_761 >> 7) & most
        # Attempts last as long and count as much however many customers there are.
        attempt = mixed % VARIETY
        first = ended - 900 - attempt * 3
        started = first - 40 - attempt
        lines.append(
            f"{head}{event_id}{middle}{_second(ended // 1000)}.{ended % 1000:03d}Z{who[mixed]}"
            f'{_second(started // 1000)}.{started % 1000:03d}Z","first_token_at":"'
            f"{_second(first // 1000)}.{first % 1000:03d}Z{spent[attempt]}"
        )
    return "\n".join(lines).encode()


def _who(mixed: int, named: int) -> str:
    who = mixed % named
    return (
        f'","data":{{"customer_id":"c-{who:03d}","project_id":"p-{who:03d}",'
        f'"api_key_id":"k-{who:03d}","agent":{{"id":"a{mixed >> 10 & 1}"}},'
        f'"served_model":"{MODELS[mixed >> 5 & 3]}",'
        f'"service_tier_served":"{TIERS[who & 3]}","started_at":"'
    )


def _spent(mixed: int) -> str:
    return (
        f'","stream":true,"status":"ok","usage":{{"input":{{"uncached":{200 + mixed},'
        f'"cache_read":{mixed & 0x3FF},"cache_write":0}},'
        f'"output":{{"visible":{40 + mixed % 700},"reasoning":0}}}},'
        # An engine serves one model, so a model is found on two of the eight.
        f'"engine":{{"instance":"vllm-{(mixed >> 5 & 3) * 2 + (mixed >> 9 & 1)}"}}}}}}'
    )


@cache
def _second(seconds: int) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


@cache
def _attempts(named: int) -> tuple[list[str], list[str]]:
    variety = max(VARIETY, 1 << (named - 1).bit_length())
    return [_who(n, named) for n in range(variety)], [_spent(n) for n in range(VARIETY)]
