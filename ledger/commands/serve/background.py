"""The background of a serving process: partitions made ahead, windows summed, stages run again.

Each thread has work that may wait for nothing the others do: beside the stages one makes the days
ahead, one sums windows, one sends notices, and a watch ends frozen sessions and measures, because a
stage may wait for one of those sessions, and nobody would be left to end it. Whatever goes wrong is
kept, with how often, and the thread goes on.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from ledger import clock, metrics
from ledger.domain.parked import reason_of
from ledger.flows.billing.deliver import deliver
from ledger.flows.metering.change_tables import changing_tables
from ledger.flows.metering.fold import fold_when_due
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.merge import merge_sealed
from ledger.flows.metering.replay import expire_quarantine
from ledger.flows.reference.count_entered import count_entered
from ledger.flows.seal import seal_when_due
from ledger.flows.settle import settle
from ledger.flows.watch import end_frozen, measure
from ledger.store.billing.webhooks import tell_of_overdue
from ledger.store.connect import connect, sum_windows
from ledger.store.metering.merging import count_unmerged_days
from ledger.store.metering.retention import close_days
from ledger.store.queries import Connection
from ledger.store.standing import note_failure, note_success
from ledger.stream.post import post

log = logging.getLogger(__name__)
# How long a stage under way may take to end when the process is asked to.
END_SECONDS = 10
FOLD_EVERY_S = 3_600
WATCH_EVERY_S = 30
PARTITIONS_EVERY_S = 300
SEAL_EVERY_S = 600
NOTICES_EVERY_S = 5
OVERDUE_EVERY_S = 3_600
# Where keys are many a sum takes long, and the more batches it adds up the fewer rows it makes: it
# rests three times as long as it took, so that it is a quarter of what goes on, within a limit.
SUM_EVERY_S, SUM_REST, SUM_LATEST_S = 0.5, 3, 5.0
# Over one connection, so that a beat costs a statement.
SUMS_IN_A_ROW = 120
Work = Callable[[Connection], Awaitable[None]]
# A batch that came before midnight may still be on its way into its day.
CLOSE_AFTER = timedelta(hours=1)


@contextmanager
def background(worker_url: str, every_s: int, *, webhooks_inside: bool = False) -> Iterator[None]:
    """Settle in a thread of its own every `every_s` seconds until left; seal and tell in others."""

    async def tell(connection: Connection) -> None:
        send = partial(post, allow_inside=webhooks_inside)
        done = await deliver(connection, post=send, now=clock.now())
        for webhook_id in done.switched_off:
            log.warning("webhook %s: switched off, see `tokenledger list webhooks`", webhook_id)

    with (
        again_and_again("settle", worker_url, every_s, SETTLING),
        again_and_again("seal", worker_url, SEAL_EVERY_S, SEALING),
        again_and_again("overdue", worker_url, OVERDUE_EVERY_S, {"overdue": _tell_of_overdue}),
        again_and_again("notices", worker_url, NOTICES_EVERY_S, {"notices": tell}),
    ):
        yield


def rest_s(took_s: float) -> float:
    """How long to wait after a sum that took so long."""
    return max(SUM_EVERY_S, min(SUM_REST * took_s, SUM_LATEST_S))


@contextmanager
def watch(worker_url: str, *, frozen_s: int) -> Iterator[None]:
    """End sessions that are frozen for `frozen_s` seconds, measure, sum windows, and make days,
    until left."""

    async def end(connection: Connection) -> None:
        for ended in await end_frozen(connection, quiet_s=frozen_s):
            log.warning("%s", ended)
            metrics.ENDED_SESSIONS.inc()

    ending = threading.Event()

    async def sum_on(connection: Connection) -> None:
        for _ in range(SUMS_IN_A_ROW):
            began = time.monotonic()
            summed = await sum_windows(connection)
            await count_entered(connection)
            if ending.wait(rest_s(time.monotonic() - began if summed else 0)):
                return

    looks: Mapping[str, Work] = {"frozen sessions": end, "sums": _measure}
    with (
        again_and_again("watch", worker_url, min(WATCH_EVERY_S, frozen_s), looks),
        again_and_again(
            "partitions", worker_url, PARTITIONS_EVERY_S, {"partitions": _prepare_partitions}
        ),
        again_and_again("window sums", worker_url, 1, {"window sums": sum_on}),
    ):
        try:
            yield
        finally:
            ending.set()


@contextmanager
def again_and_again(
    name: str, worker_url: str, every_s: int, works: Mapping[str, Work]
) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(
        target=_run,
        args=(worker_url, every_s, WorkFailures(name, works), stop),
        name=name,
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(END_SECONDS)


class WorkFailures:
    """The works of one thread, and what each failed at how often since it last succeeded."""

    def __init__(self, thread: str, works: Mapping[str, Work]) -> None:
        self.thread = thread
        self.works = works
        self._last: dict[str, tuple[str, int]] = {}

    def add(self, work: str, error: Exception) -> str:
        """Count a failure and return it as a line; the log gets the 1st, 2nd, 4th, … alike."""
        reason = reason_of(error)
        before, times = self._last.get(work, ("", 0))
        times = times + 1 if reason == before else 1
        self._last[work] = (reason, times)
        if times & (times - 1) == 0:
            log.warning("%s: failed %d times in a row: %s", work, times, reason)
        return reason

    def over(self, work: str) -> None:
        """It succeeded."""
        if self._last.pop(work, None) is not None:
            log.warning("%s: succeeds again", work)


def _run(worker_url: str, every_s: int, failures: WorkFailures, stop: threading.Event) -> None:
    while True:
        try:
            asyncio.run(_round(worker_url, failures))
            failures.over(failures.thread)
        except Exception as error:
            # The next round does what this one could not: work goes on where the books stand.
            if not stop.is_set():
                failures.add(failures.thread, error)
        if stop.wait(every_s):
            return


async def _round(worker_url: str, failures: WorkFailures) -> None:
    connection = await connect(worker_url)
    try:
        for name, work in failures.works.items():
            await _try(connection, name, work, failures)
    finally:
        await connection.close()


async def _try(connection: Connection, name: str, work: Work, failures: WorkFailures) -> None:
    """One work, whose failure is no reason for the others to wait."""
    try:
        await work(connection)
    except Exception as error:
        if connection.is_closed():
            raise
        reason = failures.add(name, error)
        await note_failure(connection, work=name, now=clock.now(), failure=reason)
    else:
        failures.over(name)
        await note_success(connection, work=name, now=clock.now())


async def _tell_of_overdue(connection: Connection) -> None:
    await tell_of_overdue(connection, now=clock.now())


async def _measure(connection: Connection) -> None:
    measured = await measure(connection)
    metrics.show_ledger(
        measured.sources, measured.gaps, measured.quarantined, measured.dead_letters
    )
    metrics.show_oldest_batch(measured.began_at, measured.unsummed, clock.now())
    metrics.show_unmerged(await count_unmerged_days(connection, before=clock.now().date()))
    metrics.show_standing(measured.work, measured.parked)


async def _prepare_partitions(connection: Connection) -> None:
    await prepare_storage(connection, now=clock.now())


async def _run_stages(connection: Connection) -> None:
    for done in await settle(connection, now=clock.now()):
        if done.rows_written:
            log.info("%s: %d rows written", done.stage, done.rows_written)
        for part in done.failed:
            log.warning("parked: %s", part)


async def _close_days(connection: Connection) -> None:
    over = (clock.now() - CLOSE_AFTER).date()
    await changing_tables(lambda: close_days(connection, today=over))


async def _expire(connection: Connection) -> None:
    await expire_quarantine(connection, now=clock.now())


async def _fold(connection: Connection) -> None:
    folded = await fold_when_due(connection, now=clock.now(), every_s=FOLD_EVERY_S)
    if folded is not None and folded.rows_gone:
        log.info("fold: %d rows became %d", folded.rows_gone, folded.rows_come)


async def _seal(connection: Connection) -> None:
    sealed = await seal_when_due(connection)
    if sealed is not None:
        log.info("seal: head of the chain %s", sealed.head)


async def _merge(connection: Connection) -> None:
    merged = await merge_sealed(connection, today=clock.now().date())
    for day in merged.merged:
        log.info("merge: %d facts of %s in %d chunks", day.facts, day.stored_day, day.chunks)
    for kept in merged.kept:
        log.warning("merge: %s stays as it is: %s", kept.stored_day, kept.reason)


# What is merged is sealed before.
SEALING: Mapping[str, Work] = {"seal": _seal, "merge": _merge}
SETTLING: Mapping[str, Work] = {
    "settle": _run_stages,
    "quarantine expiry": _expire,
    "closed days": _close_days,
    "fold": _fold,
}
