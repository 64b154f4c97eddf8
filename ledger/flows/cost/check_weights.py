"""Checks fitted weights in force against the last whole hour, once what came late to it is there.

It changes no weights: what it finds is told by `status`, and a calibration proposes others.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial

from ledger.domain.cost.drift import FittedSet, WeightCheck, compare_with_weights
from ledger.domain.cost.factory import valid_at
from ledger.domain.parked import Part
from ledger.domain.period import HOUR, Period, hour_start, windows
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.cost import cost
from ledger.store.cost.factory import load_factory
from ledger.store.cost.slots import read_slots
from ledger.store.cost.weight_checks import append_checks, find_fitted_sets
from ledger.store.cost.work import read_work

# Events of an hour that come later than this may be missing in its check.
LATE = timedelta(minutes=15)


async def _find(context: StageContext, _: Sequence[Part]) -> Due:
    until = hour_start(context.now - LATE, "UTC")
    followed_to = context.last.followed_to
    if followed_to is not None and followed_to - LATE >= until:
        return Due((), partial(_check, context, {}))
    fitted = await find_fitted_sets(
        context.connection,
        entity_id=context.entity.entity_id,
        since=until - HOUR,
        until=until,
        batch_seq=context.cut_off.batch_seq,
    )
    whole = (each for each in fitted if each.holds(until - HOUR, until))
    by_id = {each.fitted.deployment_id: each.fitted for each in whole}
    return Due([("", until - HOUR)] if by_id else [], partial(_check, context, by_id))


async def _check(
    context: StageContext, fitted: Mapping[str, FittedSet], parts: Sequence[Part]
) -> int:
    connection, entity, seq = context.connection, context.entity, context.cut_off.batch_seq
    period = Period(parts[0][1], parts[0][1] + HOUR)
    async with connection.transaction(isolation="repeatable_read"):
        factory = await load_factory(
            connection, entity, since=period.start, until=period.end, batch_seq=seq
        )
        work = await read_work(connection, list(windows(period)), seq)
        checks: list[tuple[FittedSet, WeightCheck]] = []
        for deployment in valid_at(factory.deployments, period.start):
            own = fitted.get(deployment.deployment_id)
            ends = deployment.valid_to is not None and deployment.valid_to < period.end
            if own is None or ends or deployment.shares_gpus:
                continue
            read = await read_slots(connection, factory, deployment, period, work, batch_seq=seq)
            check = compare_with_weights(read.slots, own)
            if check is not None and not any(each.is_off for each in read.tokens.values()):
                checks.append((own, check))
        return await append_checks(
            connection,
            checks,
            entity_id=entity.entity_id,
            period=period,
            cut_off=context.cut_off,
        )


check_weights = Stage(
    name="check_weights",
    step=HOUR,
    chunk_parts=1,
    list_entities=cost.list_cost_entities,
    find=_find,
    follows_clock=True,
)
