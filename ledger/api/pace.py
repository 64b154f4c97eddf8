"""Many senders are answered at once, and ask again at once: a few go on in each round of the loop.

Whoever else comes meanwhile, a small read say, is served between them and not behind them all.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

FEW = 2


@dataclass(slots=True)
class Pace:
    """One per loop."""

    _waiting: "deque[asyncio.Future[None]]" = field(default_factory=deque)

    async def admitted(self) -> None:
        """Wait to be among the next few."""
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._round)
        self._waiting.append(mine)
        await mine

    def _round(self) -> None:
        for _ in range(min(FEW, len(self._waiting))):
            first = self._waiting.popleft()
            if not first.done():
                first.set_result(None)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._round)
