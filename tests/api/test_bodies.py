"""Bodies on their way in: what is packed is read whole, what is too much or too slow is said."""

import asyncio
import gzip
import json
import zlib
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.types import HTTPReceiveMessage, Receive

from ledger.api import arriving
from ledger.api.arriving import Arriving, MemoryReservation
from ledger.api.body import MEMBERS_MAX, PIECE_BYTES, Members
from ledger.api.problems import (
    BodyTooLargeError,
    BodyTooSlowError,
    MalformedBodyError,
    TooManyBodiesError,
)
from tests.api.served import Served, attempt

MIB = 1024 * 1024
# Without a time: workers that collect tests in different seconds must name them alike.
ONE, TWO, NONE = (gzip.compress(text, mtime=0) for text in (b"one", b"two", b""))


def unpack(*parts: bytes) -> bytes:
    members = Members()
    plain = b"".join(piece for part in parts for piece in members.feed(part))
    members.end()
    return plain


@given(
    st.lists(st.binary(max_size=300) | st.just(b"a" * (2 * PIECE_BYTES)), min_size=1, max_size=4),
    st.integers(1, 400),
)
def test_members_are_read_whole_however_they_are_cut(texts: list[bytes], size: int) -> None:
    packed = b"".join(map(gzip.compress, texts))
    parts = [packed[at : at + size] for at in range(0, len(packed), size)]
    assert unpack(*parts) == b"".join(texts)


@pytest.mark.parametrize(
    "packed",
    [
        ONE + b"garbage",
        ONE + b"\0",
        ONE[:-1],
        ONE + TWO[:-9],
        ONE[:-8] + bytes(8),
        zlib.compress(b"one"),
        b"",
        NONE * (MEMBERS_MAX + 1),
    ],
)
def test_what_is_not_gzip_to_its_end_is_refused(packed: bytes) -> None:
    with pytest.raises(MalformedBodyError, match="gzip"):
        unpack(packed)


def test_a_second_member_counts_and_a_refused_body_stores_nothing(served: Served) -> None:
    lines = [f"{line}\n".encode() for line in map(json.dumps, map(attempt, ("a", "b")))]
    packed = b"".join(map(gzip.compress, lines))
    sent = served.send(packed, Content_Encoding="gzip")
    assert (sent.status_code, sent.json()["received"]) == (200, 2)
    for body, status in (
        (packed + b"garbage", 400),
        (packed[:-1], 400),
        (gzip.compress(b" " * (MIB + 1), mtime=0), 413),
        (b" " * (MIB + 1), 413),
    ):
        encoding = "identity" if body[:1] == b" " else "gzip"
        refused = served.send(body, Content_Encoding=encoding)
        assert refused.status_code == status, refused.text
        assert refused.headers["content-type"] == "application/problem+json"
    refused = served.send(packed, Content_Encoding="br")
    assert (refused.status_code, "br" in refused.json()["detail"]) == (415, True)


def test_what_people_enter_may_be_packed_too(served: Served) -> None:
    body = gzip.compress(b'{"entity_id":"packed","name":"P","currency":"EUR","zone":"UTC"}')
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    made = served.call("POST", "/v1/entities", content=body, headers=headers)
    assert made.status_code == 201, made.text


def test_a_key_leaves_room_for_the_others() -> None:
    room = MemoryReservation(100)
    room.take("a", 75)
    with pytest.raises(TooManyBodiesError, match="of this key"):
        room.take("a", 1)
    room.take("b", 25)
    with pytest.raises(TooManyBodiesError, match="Too many bodies are"):
        room.take("b", 1)
    room.give("a", 75)
    room.give("b", 25)
    assert (room.held, room.by_key) == (0, {})


async def test_room_is_taken_as_bytes_arrive_and_given_back() -> None:
    room = MemoryReservation()
    body = Arriving(_parts(b"x" * 5_000, b"y" * 3_000), room, most=MIB)
    body.of("a")
    await body.receive()
    assert room.by_key == {"a": 5_000}
    await body.receive()
    assert (room.held, body.over) == (8_000, True)
    body.end()
    assert room.held == 0


async def test_a_body_over_the_limit_is_refused_when_it_passes_it() -> None:
    body = Arriving(_parts(b"x" * 600, b"y" * 600, b"z"), MemoryReservation(), most=1_000)
    body.of("a")
    await body.receive()
    with pytest.raises(BodyTooLargeError):
        await body.receive()


async def test_a_body_that_stalls_or_trickles_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "STALLED_S", 0.05)
    stalled = Arriving(_parts(b"x", pause_s=5), MemoryReservation(), most=MIB)
    with pytest.raises(BodyTooSlowError):
        await stalled.receive()
    monkeypatch.setattr(arriving, "STALLED_S", 10)
    monkeypatch.setattr(arriving, "GRACE_S", 0.2)
    trickle = Arriving(_parts(*[b"x"] * 100, pause_s=0.02), MemoryReservation(), most=MIB)
    with pytest.raises(BodyTooSlowError):
        await _whole(trickle)
    # What is refused is not waited for twice.
    await trickle.pass_over()


async def test_a_connection_that_ends_early_is_no_fault_of_ours() -> None:
    body = Arriving(_parts(), MemoryReservation(), most=MIB)
    with pytest.raises(MalformedBodyError):
        await body.receive()


async def _whole(body: Arriving) -> None:
    while not body.over:
        await body.receive()


def _parts(*parts: bytes, pause_s: float = 0.0) -> Receive:
    """A sender of these parts that pauses before each, and leaves after the last."""
    left = deque(parts)

    async def receive() -> HTTPReceiveMessage:
        await asyncio.sleep(pause_s)
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.popleft(), "more_body": bool(left)}

    return receive
