"""Producers whose keys are bound to customers or to an entity, and who reach for what is others'.

They speak HTTP to the application itself, send again whatever was not answered, and never stop.
"""

import asyncio
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from httpx import HTTPError, Response
from litestar.testing import TestClient

from ledger.api.app import create_app
from ledger.domain.author import Author
from ledger.flows.reference.keys import create_api_key
from ledger.settings import Settings
from ledger.store.connect import connect
from ledger.wire.batch import NDJSON, BatchHeader
from ledger.wire.inputs import NewApiKey
from tests.support.database import Database
from tests.torture.model import Attempt, Delivery
from tests.torture.sending import (
    ENTITIES,
    KEYED,
    MENDS,
    SEQUENCED,
    Sender,
    Sent,
    event_of,
    line_of,
)

SHARED = (KEYED, MENDS, SEQUENCED)
# By the name of a key: whose usage it may write.
NEIGHBOURS: Mapping[str, frozenset[str]] = {
    "of a customer": frozenset({"acme"}),
    "of an entity": frozenset(ENTITIES["other"]),
}
NUMBER_FROM = 2_000_000
HTTP_OK, AWAY = (200, 422), 503
PATIENCE_S, PAUSE_S = 60.0, 0.1
RECEIVED = """
SELECT position, count(*) AS n FROM receipt
 WHERE transport = 'http' AND starts_with(position, 'knock-') GROUP BY 1
"""


@dataclass(frozen=True)
class Knock:
    """One body, by whose key it goes, what it reaches for, and what is in it."""

    key: str
    reach: str
    body: bytes
    headers: Mapping[str, str]
    said: Delivery


def make_knocks(seed: int, sent: Sequence[Sent], *, count: int = 14) -> list[Knock]:
    """What the neighbours of a seed send, by what else is sent in it."""
    sender = Sender(random.Random(f"neighbours {seed}"), 1, number=NUMBER_FROM)
    originals = [a for one in sent for a in one.said.attempts if a.target is None]
    return [_knock(sender, originals, n) for n in range(count)]


def _knock(sender: Sender, originals: Sequence[Attempt], number: int) -> Knock:
    key = sender.draw.choice(sorted(NEIGHBOURS))
    mine, own = NEIGHBOURS[key], min(NEIGHBOURS[key])
    reach = sender.draw.choice(sorted(REACHES))
    theirs = [one for one in originals if one.customer not in mine]
    ours = [one for one in originals if one.customer in mine]
    of = sender.draw.choice((ours or originals) if reach == "correct its own" else theirs)
    return _REACH[reach](sender, key, own, of, number)


def _own(sender: Sender, key: str, own: str, of: Attempt, number: int) -> Knock:
    said = sender.attempt(("k", f"own-{key}-{number}"), customer=own)
    return _of_ids(sender, key, "send its own", [said], [])


def _form(sender: Sender, key: str, own: str, of: Attempt, number: int) -> Knock:
    """Its own usage as single events, where others send numbered batches: before them or after."""
    said = sender.attempt(("k", f"form-{key}-{number}"), customer=own)
    line = line_of(sender.draw, event_of(said, str(said.identity[1]), SEQUENCED))
    return Knock(key, "send in a form of its own", line, {}, Delivery((said,)))


def _foreign(sender: Sender, key: str, own: str, of: Attempt, number: int) -> Knock:
    """Usage of another customer, beside its own; by an id that is the other's as it comes."""
    said = sender.attempt(("k", f"beside-{key}-{number}"), customer=own)
    event_id = str(of.identity[1]) if of.identity[0] == "k" else f"foreign-{key}-{number}"
    other = event_of(sender.attempt(of.identity, of), event_id, KEYED)
    return _of_ids(sender, key, "claim an id of others", [said], [line_of(sender.draw, other)])


def _place(sender: Sender, key: str, own: str, of: Attempt, number: int) -> Knock:
    """A numbered batch of another's usage, or of nothing, in the place of another producer's."""
    del own, number
    producer, epoch, sequence = "p0", 1, sender.draw.randrange(1, 11)
    header = BatchHeader(SEQUENCED, producer, epoch, sequence, 1, NDJSON)
    event = event_of(sender.attempt(of.identity, of), f"{epoch}.{sequence}.0", SEQUENCED)
    body = sender.draw.choice([line_of(sender.draw, event), b"{nothing"])
    return Knock(key, "claim a place of others", body, header.to_fields(), Delivery((), 1))


def _correct_own(sender: Sender, key: str, own: str, of: Attempt, number: int) -> Knock:
    if of.customer not in NEIGHBOURS[key]:
        return _own(sender, key, own, of, number)
    return _correction(sender, key, "correct its own", own, of)


def _correct(sender: Sender, key: str, own: str, of: Attempt, number: int) -> Knock:
    """A correction of another's usage as if it were its own."""
    del number
    return _correction(sender, key, "correct others", own, of)


def _correct_as_they(sender: Sender, key: str, own: str, of: Attempt, number: int) -> Knock:
    """A correction of another's usage in the other's name."""
    del own
    said = sender.attempt(("k", f"as-they-{key}-{number}"), of, target=of.identity, revision=8)
    line = line_of(sender.draw, event_of(said, f"as-they-{key}-{number}", MENDS))
    return _of_ids(sender, key, "correct in another's name", [], [line])


def _supersede_elsewhere(sender: Sender, key: str, own: str, of: Attempt, number: int) -> Knock:
    """A correction that names a source of others, which nobody has heard of perhaps."""
    said = sender.attempt(("k", f"elsewhere-{number}"), of, target=of.identity, revision=1)
    event = event_of(replace(said, customer=own), f"elsewhere-{key}-{number}", MENDS)
    event["data"]["supersedes_source"] = f"gw/of-others-{number % 2}"
    return _of_ids(sender, key, "supersede in others' source", [], [line_of(sender.draw, event)])


def _correction(sender: Sender, key: str, reach: str, own: str, of: Attempt) -> Knock:
    revision = sender.draw.choice([1, 1, 9])
    identity = ("mend", *of.identity, own, revision)
    said = sender.attempt(
        identity, of, target=of.identity, revision=revision, customer=own, owner=own
    )
    line = line_of(sender.draw, event_of(said, f"by-{key}-{said.uncached}", MENDS))
    return Knock(key, reach, line, {}, Delivery((said,)))


def _of_ids(
    sender: Sender, key: str, reach: str, said: Sequence[Attempt], bad: Sequence[bytes]
) -> Knock:
    lines = [line_of(sender.draw, event_of(one, str(one.identity[1]), KEYED)) for one in said]
    return Knock(key, reach, b"\n".join([*lines, *bad]), {}, Delivery(tuple(said), len(bad)))


_REACH = {
    "send its own": _own,
    "send in a form of its own": _form,
    "correct its own": _correct_own,
    "claim an id of others": _foreign,
    "claim a place of others": _place,
    "correct others": _correct,
    "correct in another's name": _correct_as_they,
    "supersede in others' source": _supersede_elsewhere,
}
REACHES = tuple(_REACH)


async def make_keys(url: str) -> dict[str, str]:
    """A key of each neighbour, all for the same shared sources."""
    wanted = {
        "of a customer": NewApiKey(role="ingest", sources=SHARED, customers=("acme",)),
        "of an entity": NewApiKey(role="ingest", sources=SHARED, entity_id="other"),
    }
    connection = await connect(url)
    try:
        author = Author("cli:torture", "for neighbours", "torture")
        made = {n: await create_api_key(connection, new, author) for n, new in wanted.items()}
    finally:
        await connection.close()
    return {name: key.text for name, key in made.items()}


@dataclass
class Neighbours:
    """Sends knocks one after the other in a thread of its own; each is known by its request id."""

    knocks: Sequence[Knock]
    keys: Mapping[str, str] = field(default_factory=dict)
    tries: Counter[int] = field(default_factory=Counter)
    answered: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    errors: set[str] = field(default_factory=set)
    allowed: int = 0
    _stack: ExitStack = field(default_factory=ExitStack)
    _client: TestClient[Any] | None = None
    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _next: int = 0
    _last: bool = False

    def serve(self, database: Database) -> None:
        """The application over this database, instead of the one before."""
        self._stack.close()
        settings = Settings(worker_url=database.worker_url, api_url=database.api_url)
        client = TestClient(create_app(settings), raise_server_exceptions=False)
        self._client = self._stack.enter_context(client)
        # What the application says of every request is nothing a seed's word should drown in.
        logging.getLogger().setLevel(logging.ERROR)

    @asynccontextmanager
    async def silent(self) -> AsyncIterator[None]:
        """Nothing is sent until this is left."""
        await asyncio.to_thread(self._mutex.acquire)
        try:
            yield
        finally:
            self._mutex.release()

    def begin_again(self, database: Database, mark: int) -> None:
        """Other books are served, which heard of nothing after `mark`; while all are silent."""
        self.serve(database)
        self._next = min(mark, self._next)

    def start(self) -> None:
        """Send one after the other, beside whatever else happens."""
        self._thread = threading.Thread(target=self._send_all, daemon=True)
        self._thread.start()

    def allow(self, share: int) -> None:
        """Let one of so many shares of the knocks be sent."""
        self.allowed = min(self.allowed + -(-len(self.knocks) // share), len(self.knocks))

    def close(self) -> None:
        """Wait until all was answered, or given up, and end the application."""
        self._last = True
        if self._thread is not None:
            self._thread.join()
        self._stack.close()

    def mark(self) -> int:
        """How many were answered so far: who restores books sends all others again."""
        return self._next

    def _send_all(self) -> None:
        while self._next < len(self.knocks) or not self._last:
            with self._mutex:
                number = self._next
                # What is given up is lost, and said to be.
                due = number < (len(self.knocks) if self._last else self.allowed)
                if due and (self._sent(number) or self._is_given_up(number)):
                    self._next += 1
            time.sleep(PAUSE_S)

    def _is_given_up(self, number: int) -> bool:
        return self.tries[number] * PAUSE_S > PATIENCE_S

    def _sent(self, number: int) -> bool:
        """Whether there was an answer that this one was received."""
        one = self.knocks[number]
        self.tries[number] += 1
        headers = {
            "Content-Type": "application/x-ndjson",
            "Authorization": f"Bearer {self.keys[one.key]}",
            "X-Request-Id": f"knock-{number}-{self.tries[number]}",
            **one.headers,
        }
        assert self._client is not None
        try:
            reply = self._client.post("/v1/events", content=one.body, headers=headers)
        except (HTTPError, RuntimeError) as error:
            self.failures.append(f"no answer: {error!r}")
            return False
        return self._noted(number, reply)

    def _noted(self, number: int, reply: Response) -> bool:
        self.answers[reply.status_code] += 1
        if reply.status_code in HTTP_OK:
            self.answered[number] += 1
            return True
        if reply.status_code != AWAY:
            said = f"answered {reply.status_code}: {reply.text[:300]}"
            self.failures.append(said)
            self.errors |= {said} if reply.status_code >= 500 else set()
        return False

    def kinds(self) -> dict[str, int]:
        """How often each was tried, and how they were answered."""
        reached = Counter(f"by key {one.key}: {one.reach}" for one in self.knocks)
        return {**reached, **{f"answers {code}": n for code, n in sorted(self.answers.items())}}

    async def received(self, url: str) -> tuple[list[Delivery], list[str]]:
        """What the books say they received of each, as often as they did, and what is wrong."""
        connection = await connect(url)
        try:
            rows = await connection.fetch(RECEIVED)
        finally:
            await connection.close()
        found: list[Delivery] = []
        counts: Counter[int] = Counter()
        wrong = list(self.failures)
        for position, n in rows:
            number, nth = (int(word) for word in position.split("-")[1:])
            counts[number] += n
            found += [self.knocks[number].said] * n
            if n > 1 or nth > self.tries[number]:
                wrong.append(f"knock {number}, try {nth}: received {n} times")
        lost = [n for n in range(len(self.knocks)) if not counts[n]]
        wrong += [f"knock {n} ({self.knocks[n].reach}) was answered and is lost" for n in lost]
        return found, wrong
