"""What a serving process holds: its pools, the directory cache, and its limits.

Nobody shares a pool whom another could keep waiting: finding the caller, taking events, running
flows, reading, and telling how it is, each have their own.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from litestar import Litestar

from ledger.api.apart import Apart
from ledger.api.arriving import HELD_BYTES_MAX, MemoryReservation
from ledger.api.failures import Failures
from ledger.api.far_intake import FarIntake, far_intake
from ledger.api.health import CONNECTIONS, Health
from ledger.api.intake import BodyIntake, open_intake
from ledger.api.key_finder import LOOK_UPS_MAX, SENDERS_LOOK_UPS_MAX, KeyFinder
from ledger.api.pace import Pace
from ledger.api.quota import Quotas, quotas_of
from ledger.api.request import ApiRequest
from ledger.api.reservation_desk import CALLS_MAX, ReservationDesk
from ledger.api.streaming import Streams
from ledger.domain.errors import MissingInputError
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.limits import IngestLimits, limits_of
from ledger.settings import Settings
from ledger.store.connect import ANSWERING, READING, open_pool
from ledger.store.identity import find_identity_secret
from ledger.store.passing import passes_by_itself
from ledger.store.queries import Pool

# However large a body may be, there is room for several.
BODIES_MIN = 4
# How long a request waits for a connection before it is told to come again.
WAIT_S = 10
# A database that is started again takes a few seconds, or as long as its recovery does.
STARTS_MAX, START_AGAIN_S = 60, 1
log = logging.getLogger(__name__)


@dataclass(slots=True)
class ApiState:
    """`worker` runs flows, `api` reads under row-level security.

    `reservations` holds what is asked for. `keys` finds callers
    and `sender_keys` those that send events; `intake` takes events, a few of
    whose senders go on at a time by `pace`; `room` is what bodies may hold, `quotas` what a key may
    ask for, `identity_secret` signs who asks, and `streams` are the answers on their way.
    `directory` is for who does not store: `intake` has its own. `ending` are reads that were
    answered, and whose transactions are being ended.
    """

    worker: Pool
    api: Pool
    keys: KeyFinder
    sender_keys: KeyFinder
    limits: IngestLimits
    intake: BodyIntake | FarIntake
    memory: MemoryReservation
    quotas: Quotas
    health: Health
    identity_secret: bytes
    apart: Apart | None
    reservations: ReservationDesk
    failures: Failures = field(default_factory=Failures)
    streams: Streams = field(default_factory=Streams)
    ending: set["asyncio.Task[None]"] = field(default_factory=set)
    pace: Pace = field(default_factory=Pace)
    directory: DirectoryCache = field(default_factory=DirectoryCache)


def state_of(request: ApiRequest) -> ApiState:
    """The state of the process that serves this request."""
    state = request.app.state.ledger
    assert isinstance(state, ApiState)
    return state


@dataclass(frozen=True, slots=True)
class Beside:
    """Sockets of the processes beside a server, None where it does their work itself."""

    reports: Path | None = None
    intake: Path | None = None


def lifespan_of(settings: Settings, beside: Beside) -> Any:
    """Opens the pools when the app starts and closes them when it ends.

    A database that went away since it was found has STARTS_MAX tries to come back.
    """

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        if settings.worker_url is None or settings.api_url is None:
            raise MissingInputError(
                "The database URLs are not set.",
                "Set TOKENLEDGER_WORKER_URL and TOKENLEDGER_API_URL.",
            )
        urls = settings.worker_url, settings.api_url
        async with AsyncExitStack() as stack:
            app.state.ledger = await _reached(
                lambda: stack.enter_async_context(_opened(*urls, settings, beside))
            )
            yield

    return lifespan


async def _reached(opening: Callable[[], Awaitable[ApiState]]) -> ApiState:
    for _ in range(STARTS_MAX - 1):
        try:
            return await opening()
        except Exception as error:
            if not passes_by_itself(error):
                raise
            log.warning("the database does not answer, it is asked again in %s s", START_AGAIN_S)
            await asyncio.sleep(START_AGAIN_S)
    return await opening()


@asynccontextmanager
async def _opened(
    worker_url: str, api_url: str, settings: Settings, beside: Beside
) -> AsyncIterator[ApiState]:
    limits = limits_of(settings)
    finding = open_pool(
        worker_url,
        size=SENDERS_LOOK_UPS_MAX + LOOK_UPS_MAX,
        application="tokenledger-api-keys",
        leaves_nothing=True,
    )
    reserving = open_pool(
        worker_url,
        size=CALLS_MAX,
        application="tokenledger-api-reservations",
        leaves_nothing=True,
    )
    taking = far_intake(beside.intake) if beside.intake else open_intake(worker_url, limits)
    async with (
        open_pool(worker_url, application="tokenledger-api-worker", settings=ANSWERING) as worker,
        finding as keys,
        reserving as reservations,
        open_pool(api_url, size=CONNECTIONS, application="tokenledger-api-health") as telling,
        open_pool(api_url, application="tokenledger-api", settings=READING) as api,
        Health(telling).asked_again() as health,
        taking as intake,
    ):
        async with worker.acquire() as connection:
            secret = await find_identity_secret(connection)
        yield ApiState(
            worker,
            api,
            KeyFinder(keys),
            KeyFinder(keys, SENDERS_LOOK_UPS_MAX),
            limits,
            intake,
            MemoryReservation(max(HELD_BYTES_MAX, BODIES_MIN * limits.body_bytes_max)),
            quotas_of(settings),
            health,
            secret,
            Apart(beside.reports) if beside.reports is not None else None,
            ReservationDesk(reservations),
        )
