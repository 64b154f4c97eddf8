"""Fills time in which no meter was read with what fitted weights say of it, once all that was on
its way has come."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from ledger.domain.cost.deployment import Deployment
from ledger.domain.cost.factory import Factory
from ledger.domain.cost.served import WindowFacts
from ledger.domain.cost.unread import (
    LATE,
    Estimate,
    GpuEstimate,
    estimate_unread,
    is_settled,
    with_estimates,
)
from ledger.domain.period import WINDOW, Period, window_of, windows
from ledger.flows.cost.read_facts import read_facts
from ledger.flows.stage import StageContext
from ledger.store.cost import cost
from ledger.store.cost.weight_checks import find_fitted_sets
from ledger.store.queries import Connection


async def fill_unread(
    connection: Connection,
    factory: Factory,
    facts: Mapping[datetime, WindowFacts],
    batch_seq: int,
    deployment_ids: Collection[str] | None = None,
) -> Mapping[datetime, WindowFacts]:
    """The facts of windows, with what is estimated at all deployments or some; as known at a
    cut-off, so that whoever asks again finds the same."""
    settled = await _settled(connection, factory, facts, batch_seq)
    return {
        window: with_estimates(
            of_window,
            window_of(window),
            _estimates(factory, window, of_window, deployment_ids) if window in settled else (),
        )
        for window, of_window in facts.items()
    }


async def list_estimates(
    connection: Connection, factory: Factory, deployment: Deployment, window: datetime, seq: int
) -> Sequence[GpuEstimate]:
    """What a window of a deployment has of estimates, as known at a cut-off; in one snapshot."""
    if not await _settled(connection, factory, [window], seq):
        return ()
    facts = await read_facts(connection, [window], factory, deployment.gpu_uuids, seq)
    named = {deployment.deployment_id}
    estimated = estimate_unread(factory, window, facts[window], named)
    return [each for of_deployment in estimated for each in of_deployment.by_gpu()]


async def _settled(
    connection: Connection, factory: Factory, asked: Iterable[datetime], batch_seq: int
) -> set[datetime]:
    """Those of which nothing is on its way any more; none where no weights estimate anything."""
    if not any(each.estimates for each in factory.fitted):
        return set()
    received_at = await cost.find_received_at(connection, batch_seq=batch_seq)
    return {window for window in asked if is_settled(window, received_at)}


async def find_newly_settled(context: StageContext) -> set[datetime]:
    """Windows that have settled since the last run, of which anything that weights can estimate is
    unread."""
    connection, seq = context.connection, context.cut_off.batch_seq
    before = await cost.find_received_at(connection, batch_seq=context.last.batch_seq)
    received_at = await cost.find_received_at(connection, batch_seq=seq)
    if before is None or received_at is None or received_at <= before:
        return set()
    period = Period(before - WINDOW - LATE, received_at)
    fitted = await find_fitted_sets(
        connection,
        entity_id=context.entity.entity_id,
        since=period.start,
        until=period.end,
        batch_seq=seq,
    )
    settled = [at for at in windows(period) if is_settled(at, received_at)]
    return await cost.find_unread_windows(
        connection,
        deployment_ids={each.fitted.deployment_id for each in fitted if each.estimates},
        windows=[at for at in settled if not is_settled(at, before)],
        batch_seq=seq,
    )


def _estimates(
    factory: Factory,
    window: datetime,
    facts: WindowFacts,
    deployment_ids: Collection[str] | None,
) -> Sequence[Estimate]:
    each = estimate_unread(factory, window, facts, deployment_ids)
    return [estimate for of_deployment in each for estimate in of_deployment.estimates]
