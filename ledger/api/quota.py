"""What one key may ask of this process: requests and bytes of bodies a minute.

Both are refilled as time passes, up to a minute's worth; who used up one waits until there is some.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ledger.api.problems import QuotaError
from ledger.settings import Settings

MIB = 1024 * 1024


@dataclass(slots=True)
class _Left:
    requests: float
    size: float
    at: float


@dataclass(slots=True)
class Quotas:
    """`requests` and `size` (bytes) are a minute's, of each key; keys are those that were found, so
    that strangers take no memory."""

    requests: int
    size: int
    clock: Callable[[], float] = time.monotonic
    _keys: dict[str, _Left] = field(default_factory=dict)

    def take(self, key_id: str) -> None:
        """One request of a key; QuotaError, with when to come again, where it had its share."""
        left = self._of(key_id)
        lacking = max((1 - left.requests) / self.requests, -left.size / self.size)
        if lacking > 0:
            raise QuotaError(
                f"This key has used its share: {self.requests} requests and {self.size // MIB} MiB"
                " a minute.",
                "Send it again after Retry-After seconds.",
                retry_after_s=math.ceil(lacking * 60),
            )
        left.requests -= 1

    def spend(self, key_id: str, size: int) -> None:
        """Bytes that came with a request of a key, once they are there."""
        self._of(key_id).size -= size

    def _of(self, key_id: str) -> _Left:
        now = self.clock()
        left = self._keys.setdefault(key_id, _Left(self.requests, self.size, now))
        minutes, left.at = (now - left.at) / 60, now
        left.requests = min(self.requests, left.requests + minutes * self.requests)
        left.size = min(self.size, left.size + minutes * self.size)
        return left


def quotas_of(settings: Settings) -> Quotas:
    """The shares that settings name."""
    return Quotas(settings.key_requests_a_minute, settings.key_mib_a_minute * MIB)
