"""A request's body as bytes: read once, unpacked where it is packed, never more than the limit."""

import asyncio
import zlib
from collections.abc import Iterator
from typing import Any

from ledger.api.arriving import Arriving
from ledger.api.problems import BodyTooLargeError, MalformedBodyError, UnsupportedMediaError
from ledger.api.request import ApiRequest

GZIP_WINDOW = zlib.MAX_WBITS | 16
# So much is unpacked before others have their turn.
PIECE_BYTES = 256 * 1024
# A member may hold nothing: their number is bounded as well.
MEMBERS_MAX = 1_024


async def whole_body(request: ApiRequest) -> bytes:
    """The body, unpacked; BodyTooLargeError, MalformedBodyError or UnsupportedMediaError."""
    body = request.scope.get("whole_body")
    if not isinstance(body, bytes):
        body = await _read(request)
        request.scope["whole_body"] = body  # type: ignore[typeddict-unknown-key]
    return body


async def _read(request: ApiRequest) -> bytes:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return await request.body()
    if encoding != "gzip":
        raise UnsupportedMediaError(
            f"Content-Encoding: found {encoding[:40]!r}.", "Send gzip or none."
        )
    arriving = request.scope["arriving"]  # type: ignore[typeddict-item]
    assert isinstance(arriving, Arriving)
    return await _unpack(request, arriving, arriving.most)


async def _unpack(request: ApiRequest, arriving: Arriving, limit: int) -> bytes:
    plain, packed = bytearray(), Members()
    async for part in request.stream():
        for piece in packed.feed(part):
            arriving.grow(len(piece))
            plain += piece
            if len(plain) > limit:
                raise BodyTooLargeError(
                    f"The body holds more than {limit} bytes once decompressed.",
                    "Send smaller batches.",
                )
            await asyncio.sleep(0)
        arriving.grow(-len(part))
    packed.end()
    return bytes(plain)


class Members:
    """The members of a gzip body, one after another."""

    def __init__(self) -> None:
        self._members = 0
        self._open: Any = None

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """What the next bytes unpack to, a piece at a time; MalformedBodyError."""
        piece = b""
        # What fills a piece may go on without another byte.
        while packed or (self._open is not None and len(piece) == PIECE_BYTES):
            if self._open is None:
                self._begin()
            try:
                piece = self._open.decompress(packed, PIECE_BYTES)
            except zlib.error as error:
                where = f"member {self._members} of the gzip body"
                raise MalformedBodyError(
                    f"The bytes at {where} are not gzip: {error}.", "Compress it again."
                ) from error
            if piece:
                yield piece
            packed = self._open.unconsumed_tail
            if self._open.eof:
                packed, self._open = self._open.unused_data, None

    def end(self) -> None:
        """MalformedBodyError where a member is not whole."""
        if self._open is not None or not self._members:
            raise MalformedBodyError("The gzip body ends too early.", "Send it whole.")

    def _begin(self) -> None:
        self._members += 1
        if self._members > MEMBERS_MAX:
            raise MalformedBodyError(
                f"The gzip body has more than {MEMBERS_MAX} members.", "Compress it as one."
            )
        self._open = zlib.decompressobj(GZIP_WINDOW)
