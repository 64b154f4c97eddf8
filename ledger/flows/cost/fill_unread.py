"""Fills time in which no meter was read with what fitted weights say of it, once all that was on
its way has come."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from ledger.domain.cost.deployment import Deployment
from ledger.domain.cost.factory import Factory
from ledger.domain.cost.served import WindowFacts
from ledger.domain.cost.unread import (
    LATE,
    EstimatedBy,
    GpuEstimate,
    Unread,
    estimate_unread,
    find_unread,
    is_settled,
    with_estimates,
)
from ledger.domain.cost.unread_work import StepsCounted
from ledger.domain.metering.engine_counter import counter_deltas
from ledger.domain.metering.reconcile import STEPS
from ledger.domain.period import WINDOW, Period, window_of, windows
from ledger.flows.cost.read_facts import read_facts
from ledger.flows.stage import StageContext
from ledger.store.cost import cost
from ledger.store.cost.weight_checks import find_fitted_sets
from ledger.store.energy import meter
from ledger.store.queries import Connection

# By then an engine is scraped again that is scraped at all.
SCRAPED_BY = timedelta(minutes=1)


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
    asked = {window: facts[window] for window in facts if window in settled}
    estimated = await _estimate(connection, factory, asked, batch_seq, deployment_ids)
    filled = {
        window: with_estimates(
            facts[window],
            window_of(window),
            [estimate for each in of_window for estimate in each.estimates],
        )
        for window, of_window in estimated.items()
    }
    return {**facts, **filled}


async def list_estimates(
    connection: Connection, factory: Factory, deployment: Deployment, window: datetime, seq: int
) -> Sequence[GpuEstimate]:
    """What a window of a deployment has of estimates, as known at a cut-off; in one snapshot."""
    if not await _settled(connection, factory, [window], seq):
        return ()
    facts = await read_facts(connection, [window], factory, deployment.gpu_uuids, seq)
    named = {deployment.deployment_id}
    estimated = await _estimate(connection, factory, facts, seq, named)
    return [
        each
        for of_deployments in estimated.values()
        for of_deployment in of_deployments
        for each in of_deployment.by_gpu()
    ]


async def _estimate(
    connection: Connection,
    factory: Factory,
    facts: Mapping[datetime, WindowFacts],
    batch_seq: int,
    deployment_ids: Collection[str] | None,
) -> dict[datetime, list[EstimatedBy]]:
    """What is estimated of windows in which anything is unread, with the steps that engines counted
    then."""
    sets = {
        window: find_unread(factory, window, of_window.gpus, deployment_ids)
        for window, of_window in facts.items()
    }
    unread = {window: of_window for window, of_window in sets.items() if of_window.gpus}
    counted = await _count_steps(connection, factory, unread, batch_seq)
    return {
        window: [*estimate_unread(factory, window, facts[window], of_window, counted[window])]
        for window, of_window in unread.items()
    }


async def _count_steps(
    connection: Connection,
    factory: Factory,
    unread: Mapping[datetime, Unread],
    batch_seq: int,
) -> dict[datetime, StepsCounted]:
    """What engines of deployments counted about each window: whatever else is asked for."""
    if not unread:
        return {}
    named = {name for of_window in unread.values() for name in of_window.fitted}
    own = [d for d in factory.deployments if d.deployment_id in named]
    samples = await meter.list_counters(
        connection,
        engine_instances=sorted({name for d in own for name in d.engine_instances}),
        metrics=(STEPS,),
        since=min(unread) - SCRAPED_BY,
        until=max(unread) + WINDOW + SCRAPED_BY,
        batch_seq=batch_seq,
    )
    return {
        window: {
            name: counter_deltas(
                each
                for each in of_engine
                if window - SCRAPED_BY <= each.scraped_at <= window + WINDOW + SCRAPED_BY
            )
            for name, of_engine in samples.items()
        }
        for window in unread
    }


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
