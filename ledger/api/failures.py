"""Failed authentications by address: who fails often waits, and a good key is never locked out.

An address that failed too often is looked up one key at a time and answered 429, so that it takes
one connection at most from those who ask with good keys. Keys known to be good do not wait.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256

# So many at once, and then one a second.
FAILURES_MAX = 100
FAILURES_A_SECOND = 1
REMEMBERED_MAX = 10_000


@dataclass(slots=True)
class _Address:
    left: float = FAILURES_MAX
    at: float = field(default_factory=time.monotonic)
    in_order: asyncio.Lock = field(default_factory=asyncio.Lock)

    def refill(self) -> None:
        now = time.monotonic()
        self.left = min(FAILURES_MAX, self.left + (now - self.at) * FAILURES_A_SECOND)
        self.at = now


@dataclass(slots=True)
class Failures:
    """What a process remembers of addresses that failed, and of keys that did not."""

    _addresses: "OrderedDict[str, _Address]" = field(default_factory=OrderedDict)
    _good: "OrderedDict[bytes, None]" = field(default_factory=OrderedDict)

    @asynccontextmanager
    async def in_order(self, address: str, key: str) -> AsyncIterator[None]:
        """Wait for one's turn to be looked up, where the address has failed too often."""
        known = self._addresses.get(address)
        if known is None or _name(key) in self._good or not self._spent(known):
            yield
            return
        async with known.in_order:
            yield

    def failed(self, address: str) -> bool:
        """Count a failure; whether it is one too many."""
        known = self._addresses.setdefault(address, _Address())
        self._addresses.move_to_end(address)
        _forget(self._addresses)
        spent = self._spent(known)
        known.left = max(0.0, known.left - 1)
        return spent

    def succeeded(self, key: str) -> None:
        """Remember a key as good."""
        self._good[_name(key)] = None
        self._good.move_to_end(_name(key))
        _forget(self._good)

    @staticmethod
    def _spent(known: _Address) -> bool:
        known.refill()
        return known.left < 1


def _name(key: str) -> bytes:
    return sha256(key.encode()).digest()


def _forget(remembered: "OrderedDict[str, _Address] | OrderedDict[bytes, None]") -> None:
    while len(remembered) > REMEMBERED_MAX:
        remembered.popitem(last=False)
