"""Events one a body by 64 connections, alone and beside seven readers and an invoice run.

Whoever asks runs in a process of its own beside the API; all share the machine. What counts is the
ratio of two stretches that follow one another, and how long small answers take meanwhile.
"""

import asyncio
import http.client
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import chain
from multiprocessing.synchronize import Barrier
from typing import Any
from urllib.parse import urlsplit

from benchmarks import events
from benchmarks.harness import Figure, median, say
from benchmarks.latency import percentile
from benchmarks.over_http import served_api
from benchmarks.scale import RUNS, SCALE, scaled
from benchmarks.server import AUTHOR, bench_server
from ledger.flows.reference.keys import create_api_key
from ledger.store.connect import connect
from ledger.wire.inputs import NewApiKey

CONNECTIONS = 64
READERS = 7
# One of them takes its answers in small pieces, slowly.
SLOW_PIECE_BYTES, SLOW_PAUSE_S = 16 * 1024, 0.1
PROBE_EVERY_S = 0.05
# Senders, readers, whoever issues, and two that ask for little.
ACTORS = 5
STRETCH_S = max(3.0, 6 * min(SCALE, 1))
WARM_S = 1.0
# A pair is two stretches, and what was begun in them is waited for: three make two minutes.
PAIRS = min(RUNS, 3)
# Facts of the month before, over all its windows: what readers read.
FACTS = scaled(60_000, 2_000)
BODY_FACTS = 2_000
DAYS = 30
REACH_RATIO, REACH_HEALTH_S, REACH_READ_S = 0.7, 0.1, 0.05
SINCE, UNTIL = "2026-07-07T00:00:00Z", "2026-08-07T00:00:00Z"
PERIOD = f"since={SINCE}&until={UNTIL}"
REPORTS = (
    f"/v1/usage?{PERIOD}&by=window,customer,model,tier",
    f"/v1/usage?{PERIOD}&by=day,customer",
    f"/v1/hourly?entity=factory&{PERIOD}",
    f"/v1/exports/usage?entity=factory&{PERIOD}",
    f"/v1/usage?{PERIOD}&by=hour,model",
    "/v1/status",
    f"/v1/usage?{PERIOD}&by=window,model",
)
BESIDE = "beside seven readers and an invoice run"
SMALL_READ = "/v1/customers?limit=1"
# Made once: whoever sends takes the machine from whoever answers.
NAMES = events.customers()


@dataclass(frozen=True, slots=True)
class Place:
    """Where to ask, with which keys, and from when to when what is answered counts."""

    address: str
    sender: str
    house: str
    begin: float
    end: float


@dataclass(slots=True)
class Stretch:
    """What came of one: events a second, seconds of each small answer, and what else was done."""

    rate: float
    health: list[float]
    reads: list[float]
    others: "Counter[str]" = field(default_factory=Counter)


def run() -> list[Figure]:
    """The ratio of ingest, and the 99th percentiles of health and of a small read."""
    starting = multiprocessing.get_context("spawn")
    with (
        bench_server(events.customers()) as bench,
        bench.fresh() as database,
        served_api(database) as (url, sender, _),
        ProcessPoolExecutor(
            ACTORS,
            mp_context=starting,
            initializer=_meet,
            initargs=(starting.Barrier(ACTORS),),
        ) as pool,
    ):
        address, house = urlsplit(url).netloc, asyncio.run(_house_key(database.worker_url))
        _prepare(address, sender, house)
        # All start now, and none within what is measured.
        list(pool.map(time.sleep, [0.0] * ACTORS))
        # The first pair warms caches, and is thrown away.
        pairs = [_pair(pool, (address, sender, house), n) for n in range(PAIRS + 1)][1:]
    return _figures(pairs)


def _meet(barrier: Barrier) -> None:
    barrier.wait()


async def _house_key(worker_url: str) -> str:
    connection = await connect(worker_url)
    try:
        return (await create_api_key(connection, NewApiKey(role="admin"), AUTHOR)).text
    finally:
        await connection.close()


def _prepare(address: str, sender: str, house: str) -> None:
    """A price list for every customer, and a month of facts."""
    prices = [
        {"meter": meter, "amount": "2", "valid_from": "2026-01-01T00:00:00Z"}
        for meter in ("input", "output")
    ]
    card = {"rate_card_id": "list", "entity_id": "factory", "name": "List", "currency": "EUR"}
    _enter(address, house, "/v1/rate-cards", {**card, "prices": prices})
    for name in events.customers():
        new = {"subscription_id": f"s-{name}", "customer_id": name, "rate_card_id": "list"}
        _enter(address, house, "/v1/subscriptions", {**new, "valid_from": "2026-01-01T00:00:00Z"})
    connection = http.client.HTTPConnection(address, timeout=60)
    for first in range(0, FACTS, BODY_FACTS):
        facts = range(first, first + BODY_FACTS)
        body = b"\n".join(_event(f"past-{n}", n, n * DAYS * 86_400 // FACTS) for n in facts)
        status, _ = _ask(connection, "POST", "/v1/events", sender, body)
        assert status == http.client.OK, status
    say(
        f"{FACTS:,} facts of {DAYS} days, {events.CUSTOMERS} customers, {len(events.MODELS)} models"
    )


def _enter(address: str, key: str, path: str, new: dict[str, Any]) -> None:
    connection = http.client.HTTPConnection(address, timeout=60)
    status, said = _ask(connection, "POST", path, key, json.dumps(new).encode(), "application/json")
    assert status == http.client.CREATED, said
    connection.close()


def _event(event_id: str, number: int, second: int) -> bytes:
    ended = events.START - timedelta(days=DAYS) + timedelta(seconds=second)
    customer = NAMES[number % events.CUSTOMERS]
    usage = {"input": {"uncached": 200 + number % 4_000}, "output": {"visible": 40 + number % 700}}
    data = {
        "customer_id": customer,
        "served_model": events.MODELS[number // 7 % len(events.MODELS)],
        "service_tier_served": events.TIERS[number // 3 % len(events.TIERS)],
        "usage": usage,
    }
    named = {"specversion": "1.0", "id": event_id, "source": "gw/mixed"}
    time_ = ended.strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps({**named, "type": "inference.usage.v1", "time": time_, "data": data}).encode()


def _pair(
    pool: ProcessPoolExecutor, where: tuple[str, str, str], number: int
) -> tuple[Stretch, Stretch]:
    alone = _stretch(pool, where, f"{number}a", ())
    mixed = _stretch(pool, where, f"{number}m", (_read_reports, _issue))
    ratio = mixed.rate / alone.rate
    say(
        f"{alone.rate:,.0f} events/s alone, {mixed.rate:,.0f} mixed ({ratio:.2f});"
        f" p99 of health {percentile(mixed.health, 99):.3f} s (alone"
        f" {percentile(alone.health, 99):.3f}), of a small read"
        f" {percentile(mixed.reads, 99):.3f} s (alone {percentile(alone.reads, 99):.3f});"
        f" {dict(mixed.others)}"
    )
    return alone, mixed


def _stretch(
    pool: ProcessPoolExecutor,
    where: tuple[str, str, str],
    tag: str,
    others: Sequence[Callable[[Place], "Counter[str]"]],
) -> Stretch:
    begin = time.monotonic() + WARM_S
    place = Place(*where, begin, begin + STRETCH_S)
    sending = pool.submit(_send, place, tag)
    probing = [pool.submit(_probe, place, path) for path in ("/healthz", SMALL_READ)]
    beside: list[Future[Counter[str]]] = [pool.submit(other, place) for other in others]
    health, reads = (sorted(probe.result()) for probe in probing)
    done: Counter[str] = Counter()
    for one in beside:
        done += one.result()
    return Stretch(sending.result() / STRETCH_S, health, reads, done)


def _send(place: Place, tag: str) -> int:
    """Events stored within the stretch, by 64 connections that each wait for their answers."""
    with ThreadPoolExecutor(CONNECTIONS) as lanes:
        return sum(lanes.map(partial(_lane, place, tag), range(CONNECTIONS)))


def _lane(place: Place, tag: str, lane: int) -> int:
    connection, stored, number = http.client.HTTPConnection(place.address, timeout=60), 0, 0
    second = DAYS * 86_400 + lane * 60
    while (now := time.monotonic()) < place.end:
        body = _event(f"{tag}-{lane}-{number}", lane * 31 + number, second + number % 60)
        status, _ = _ask(connection, "POST", "/v1/events", place.sender, body)
        number += 1
        if status != http.client.OK:
            time.sleep(1)
        elif now >= place.begin and time.monotonic() <= place.end:
            stored += 1
    return stored


def _probe(place: Place, path: str) -> list[float]:
    """Seconds of each answer, asked for twenty times a second as the plan says, not as it goes."""
    connection, took = http.client.HTTPConnection(place.address, timeout=60), []
    due = place.begin
    while due < place.end:
        time.sleep(max(0.0, due - time.monotonic()))
        status, _ = _ask(connection, "GET", path, place.house)
        # Whoever was kept waiting is counted as having asked when it meant to.
        took.append(time.monotonic() - due)
        assert status == http.client.OK, status
        due += PROBE_EVERY_S
    return took


def _read_reports(place: Place) -> "Counter[str]":
    with ThreadPoolExecutor(READERS) as readers:
        found: Iterator[Counter[str]] = readers.map(partial(_reader, place), range(READERS))
        return sum(found, Counter())


def _reader(place: Place, number: int) -> "Counter[str]":
    done: Counter[str] = Counter()
    while time.monotonic() < place.end:
        connection = http.client.HTTPConnection(place.address, timeout=120)
        slow = partial(_slowly, place) if number == 0 else None
        status, _ = _ask(connection, "GET", REPORTS[number], place.house, take=slow)
        connection.close()
        done["reports" if status == http.client.OK else f"reports {status}"] += 1
        if status == http.client.SERVICE_UNAVAILABLE:
            time.sleep(2)
    return done


def _slowly(place: Place, reply: http.client.HTTPResponse) -> bytes:
    while reply.read(SLOW_PIECE_BYTES) and time.monotonic() < place.end:
        time.sleep(SLOW_PAUSE_S)
    return b""


def _issue(place: Place) -> "Counter[str]":
    """Issue for one customer after another; those that have an invoice are refused one."""
    connection, done = http.client.HTTPConnection(place.address, timeout=120), Counter[str]()
    while time.monotonic() < place.end:
        for name in events.customers():
            asked = {"subscription_id": f"s-{name}", "at": "2026-07-10T00:00:00Z"}
            body = json.dumps({**asked, "allow_open_period": True}).encode()
            status, _ = _ask(
                connection, "POST", "/v1/invoices", place.house, body, "application/json"
            )
            done["invoices" if status == http.client.CREATED else f"invoices {status}"] += 1
            if time.monotonic() >= place.end:
                break
    return done


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    key: str,
    body: bytes | None = None,
    media_type: str = "application/x-ndjson",
    take: Callable[[http.client.HTTPResponse], bytes] | None = None,
) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {key}"}
    if body is not None:
        headers["Content-Type"] = media_type
    connection.request(method, path, body=body, headers=headers)
    reply = connection.getresponse()
    return reply.status, reply.read() if take is None else take(reply)


def _figures(pairs: Sequence[tuple[Stretch, Stretch]]) -> list[Figure]:
    ratio = median([mixed.rate / alone.rate for alone, mixed in pairs])
    others: Counter[str] = sum((mixed.others for _, mixed in pairs), Counter())
    details = {
        "alone, events/s": [round(alone.rate) for alone, _ in pairs],
        "mixed, events/s": [round(mixed.rate) for _, mixed in pairs],
        "facts read": f"{FACTS:,} over {DAYS} days, {events.CUSTOMERS} customers,"
        f" {len(events.MODELS)} models, {len(set(events.TIERS))} tiers",
        "connections": CONNECTIONS,
        "readers": READERS,
        "done beside": [f"{count} {name}" for name, count in sorted(others.items())],
    }
    return [
        Figure(
            name=f"single events over HTTP {BESIDE}",
            median=median([mixed.rate for _, mixed in pairs]),
            unit="events/s",
            runs=len(pairs),
            compared_against="the same alone",
            ratio=ratio,
            reach=f"≥ {REACH_RATIO} of it alone",
            met=ratio >= REACH_RATIO,
            details=details,
        ),
        _latency("/healthz", REACH_HEALTH_S, [(one.health, other.health) for one, other in pairs]),
        _latency("a small read", REACH_READ_S, [(one.reads, other.reads) for one, other in pairs]),
    ]


def _latency(
    name: str, reach: float, pairs: Sequence[tuple[Sequence[float], Sequence[float]]]
) -> Figure:
    # Of all answers together: a stretch has too few for its own hundredth to say much.
    alone, value = (percentile(sorted(chain(*found)), 99) for found in zip(*pairs, strict=True))
    return Figure(
        name=f"{name} {BESIDE}, p99",
        median=value,
        unit="s",
        runs=len(pairs),
        compared_against="beside the senders of events alone",
        ratio=value / alone,
        reach=f"< {reach} s",
        met=value < reach,
    )
