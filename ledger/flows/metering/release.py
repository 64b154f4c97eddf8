"""Moves usage out of suspense once somebody knows whose it is."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

import asyncpg
import polars as pl

from ledger.domain.author import Author, check_reason
from ledger.domain.errors import NotFoundError, UnavailableError
from ledger.domain.metering.budget_use import NOTHING_NAMED, budget_use
from ledger.domain.metering.directory import Directory
from ledger.domain.metering.fact import Fate
from ledger.domain.metering.key import UsageKeyRow
from ledger.domain.metering.release import Release, release_facts
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.stored import Stored
from ledger.flows.reference.supersede import keep_write, writing
from ledger.store.connect import draw_batch_seq, sum_windows
from ledger.store.metering.correction import FateChange, copy_fate_changes
from ledger.store.metering.directory import find_budgeted
from ledger.store.metering.extras import find_extras
from ledger.store.metering.ingest import insert_usage_keys
from ledger.store.metering.suspense import dismiss_suspense as store_dismissal
from ledger.store.metering.suspense import (
    find_suspended_facts,
    find_suspended_keys,
    list_suspended_refs,
)
from ledger.store.operations import Suspended, list_suspense
from ledger.store.queries import Connection
from ledger.store.refusals import lacks_partition

PAGE = 50_000
RETRIES = 5


async def release_suspense(
    connection: Connection,
    customer_ref: str | None = None,
    *,
    directory: DirectoryCache,
    now: datetime,
) -> int:
    """Release usage of a reference, or of every one that is known now; returns how many facts.

    Each page of facts is a transaction of its own: reversed under the unknown key, entered under
    the known one. Facts from before a dated name was valid stay.
    """
    refs = [customer_ref] if customer_ref is not None else await _known_refs(connection, directory)
    released = 0
    for ref in refs:
        keys = await find_suspended_keys(connection, ref)
        released += await _release(connection, keys, directory=directory, now=now)
    return released


async def release_by_hand(
    connection: Connection,
    customer_ref: str | None,
    *,
    directory: DirectoryCache,
    now: datetime,
    author: Author,
    seal: Callable[[int], Awaitable[None]] | None = None,
) -> int:
    """`release_suspense`, keeping who did it and why where anything was released.

    `seal` keeps the count for whoever asked, in the last transaction. Begun again after a crash
    it counts what was left.
    """
    released = await release_suspense(connection, customer_ref, directory=directory, now=now)
    async with writing(connection):
        if released:
            await keep_write(
                connection,
                author,
                batch_seq=await draw_batch_seq(connection),
                action="release suspense",
                subject=customer_ref or "every known name",
                detail={"facts": released},
            )
        if seal is not None:
            await seal(released)
    return released


async def dismiss_suspense(
    connection: Connection, customer_ref: str, author: Author, *, now: datetime
) -> Suspended:
    """Say that nobody will ever own what waits under a name; returns what waited.

    It stays in suspense with its cost, and leaves status and alarms until more comes under it.
    NotFoundError where nothing waits, InvalidInputError where no reason is given.
    """
    check_reason(author)
    await sum_windows(connection)
    waiting = {each.customer_ref: each for each in await list_suspense(connection)}
    if customer_ref not in waiting:
        raise NotFoundError(f"Nothing waits under {customer_ref!r}.", "List what waits.")
    await store_dismissal(connection, waiting[customer_ref], author, now=now)
    return waiting[customer_ref]


async def _known_refs(connection: Connection, directory: DirectoryCache) -> list[str]:
    known = await directory.read(connection)
    await sum_windows(connection)
    waiting = await list_suspended_refs(connection)
    return [ref for ref in waiting if ref in known.customers or ref in known.names]


async def _release(
    connection: Connection,
    keys: Mapping[int, UsageKeyRow],
    *,
    directory: DirectoryCache,
    now: datetime,
) -> int:
    after, released, clashes = (0, -1), 0, 0
    while keys:
        known = await directory.read(connection)
        try:
            page, count = await _release_page(connection, keys, known, after=after, now=now)
        except asyncpg.CheckViolationError as error:
            if not lacks_partition(error):
                raise
            await prepare_storage(connection, now=now)
            continue
        except asyncpg.UniqueViolationError:
            # Somebody corrected or released one of them in between; look again.
            clashes += 1
            if clashes > RETRIES:
                raise UnavailableError("Others are changing the same usage.", "Again.") from None
            continue
        released += count
        if page.height < PAGE:
            break
        after = page.select("batch_seq", "ordinal").row(-1)
    return released


async def _release_page(
    connection: Connection,
    keys: Mapping[int, UsageKeyRow],
    known: Directory,
    *,
    after: tuple[int, int],
    now: datetime,
) -> tuple[pl.DataFrame, int]:
    async with connection.transaction():
        page = await find_suspended_facts(connection, list(keys), after=after, most=PAGE)
        release = release_facts(page, keys, known)
        if release.facts.height:
            await _write(connection, release, now)
    return page, release.facts.height // 2


async def _write(connection: Connection, release: Release, now: datetime) -> None:
    nothing = release.facts.head(0)
    batch_seq = await draw_batch_seq(connection)
    # Behind the number: who enters a budget counts what was stored under those before.
    budgeted = await find_budgeted(connection)
    extras = await find_extras(connection, release.origins)
    stored = Stored.of(
        release.facts,
        moves=release.facts,
        # The seconds in which it ran are known already.
        worked=nothing,
        provider_costs=nothing.with_columns(
            cost_amount=pl.lit(None, pl.String), cost_currency=None
        ),
        readings={},
        use=budget_use([release.facts], NOTHING_NAMED, budgeted, extras),
        runs=[release.facts],
        extras=extras,
        now=now,
    )
    await insert_usage_keys(connection, release.keys)
    await stored.copy(connection, batch_seq)
    changes = [
        FateChange(by, seq, ordinal, Fate.SUSPENSE, Fate.COUNTED, "released")
        for by, seq, ordinal in release.stored_ids
    ]
    await copy_fate_changes(connection, changes, batch_seq=batch_seq)
    await stored.count_use(connection, batch_seq, now)
