"""What inference servers counted beside what events say ran on them, by instance and hour."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Unpack

from ledger.domain.cost.factory import Factory
from ledger.domain.metering.engine_counter import counter_deltas
from ledger.domain.metering.reconcile import INPUT, METRICS, OUTPUT, Hours, Reconciliation
from ledger.domain.period import hour_start
from ledger.reports.cost.margin import find_entity
from ledger.reports.report import ScopedReport
from ledger.store.connect import CutOff
from ledger.store.cost import margin
from ledger.store.cost.factory import load_factory
from ledger.store.energy import meter
from ledger.store.metering.attempts import sum_attempts
from ledger.store.queries import Connection
from ledger.store.within import Within


@dataclass(frozen=True, slots=True)
class EnginesReport(ScopedReport):
    """Engines of an entity, or of everyone where none is known to be another's."""

    engines: tuple[Reconciliation, ...]


async def engines_report(
    connection: Connection,
    *,
    entity_id: str,
    since: datetime,
    until: datetime,
    cut_off: CutOff,
    alone: bool = False,
) -> EnginesReport:
    """Engines beside events; `alone` leaves out those not known to be its own.

    MissingInputError for an entity without hardware, of which none can be known to be its own.
    """
    within = Within(since=since, until=until, batch_seq=cut_off.batch_seq)
    hours = await count_hours(
        connection, await margin.find_engine_activity(connection, **within), **within
    )
    hours.attempts = await sum_attempts(connection, **within)
    rows = tuple(hours.reconcile())
    if alone:
        entity = await find_entity(connection, entity_id)
        own = own_engines(await load_factory(connection, entity, **within))
        rows = tuple(row for row in rows if row.engine_instance in own)
    return EnginesReport(entity_id, since, until, cut_off, rows)


async def count_hours(
    connection: Connection,
    activity: Iterable[margin.EngineWork],
    **within: Unpack[Within],
) -> Hours:
    """What engines counted, and the tokens that events say ran on them."""
    hours, since, until = Hours(), within["since"], within["until"]
    for instance in await meter.list_engine_instances(connection, **within):
        samples = await meter.find_engine_counters(
            connection, engine_instance=instance, metrics=METRICS, **within
        )
        hours.add_deltas(delta for delta in counter_deltas(samples) if since < delta.until <= until)
    for work in activity:
        if work.engine_instance:
            tokens = hours.events[work.engine_instance, hour_start(work.window_start, "UTC")]
            tokens[INPUT] += work.input
            tokens[OUTPUT] += work.output
    return hours


def own_engines(factory: Factory) -> frozenset[str]:
    """Engines that only deployments of the entity name."""
    named: dict[str, set[str]] = {}
    for deployment in factory.deployments:
        for instance in deployment.engine_instances:
            named.setdefault(instance, set()).add(deployment.entity_id)
    return frozenset(name for name, of in named.items() if of == {factory.entity.entity_id})
