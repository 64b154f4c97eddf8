"""Sends a message to an address that a stranger named, and to nowhere in the house.

What a name leads to is looked up here, and the connection goes to that very address: no second
look-up can lead elsewhere. Of the answer only its status is read: nothing of it comes to light.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult

from ledger.domain.address import inside
from ledger.domain.billing.webhook import Answer, Outcome
from ledger.wire.webhook_inputs import split_address

WHOLE_S = 10
HEAD_BYTES_MAX = 16_384
INTERIM = range(100, 200)
TAKEN = range(200, 300)
MOVED = range(300, 400)


class _RefusedError(Exception):
    """Where it would go is of the house."""


async def post(
    url: str, headers: Mapping[str, str], body: bytes, *, allow_inside: bool = False
) -> Answer:
    """Send it by POST; whatever goes wrong is an answer."""
    try:
        async with asyncio.timeout(WHOLE_S):
            status = await _status(split_address(url), headers, body, allow_inside)
    except _RefusedError as error:
        return Answer(Outcome.REFUSED, None, str(error))
    except TimeoutError:
        return Answer(Outcome.FAILED, None, f"no answer within {WHOLE_S} seconds")
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        return Answer(Outcome.FAILED, None, _said(error))
    if status in TAKEN:
        return Answer(Outcome.DELIVERED, status, "")
    followed = "; redirects are not followed" if status in MOVED else ""
    return Answer(Outcome.FAILED, status, f"answered {status}{followed}")


async def _status(
    parts: SplitResult, headers: Mapping[str, str], body: bytes, allow_inside: bool
) -> int:
    reader, writer = await _connect(parts, allow_inside)
    try:
        writer.write(_head(parts, headers, len(body)) + body)
        await writer.drain()
        return await _read_status(reader)
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await writer.wait_closed()


async def _connect(
    parts: SplitResult, allow_inside: bool
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, secure = parts.hostname or "", parts.scheme == "https"
    if not (secure or allow_inside):
        raise _RefusedError("not https")
    port = parts.port or (443 if secure else 80)
    addresses = await _resolve(host, port, allow_inside)
    tls = ssl.create_default_context() if secure else None
    failed: OSError = OSError("it has no address")
    for address in addresses:
        try:
            return await asyncio.open_connection(
                address,
                port,
                ssl=tls,
                server_hostname=host if secure else None,
                limit=HEAD_BYTES_MAX,
            )
        except OSError as error:
            failed = error
    raise failed


async def _resolve(host: str, port: int, allow_inside: bool) -> list[str]:
    """The addresses of a host; one of the house among them is reason enough to refuse all."""
    loop = asyncio.get_running_loop()
    try:
        known = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise OSError(f"{host} has no address") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in known))
    for address in addresses:
        reason = inside(address)
        if reason is not None and not allow_inside:
            raise _RefusedError(f"{host} leads to {address}, which is {reason}")
    return addresses


def _head(parts: SplitResult, headers: Mapping[str, str], length: int) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {parts.netloc}",
        "User-Agent: tokenledger",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


async def _read_status(reader: asyncio.StreamReader) -> int:
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        version, _, rest = head.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise ValueError("what answered does not speak HTTP/1.1")
        status = int(rest[:3])
        if status not in INTERIM:
            return status


def _said(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "it closed the connection without an answer"
    if isinstance(error, asyncio.LimitOverrunError):
        return "its answer has no end"
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:200] or type(error).__name__
