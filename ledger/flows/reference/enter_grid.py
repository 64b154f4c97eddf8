"""What a kWh of a site emits and drinks, entered by hand or from a file: series with sources."""

from collections.abc import Sequence

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, NotFoundError
from ledger.flows.reference.enter_checks import check_apart, find_rival
from ledger.flows.reference.supersede import describe_period, keep_write, writing
from ledger.store.connect import draw_batch_seq
from ledger.store.cost import cost_inputs, grid
from ledger.store.queries import Connection
from ledger.wire.grid_inputs import GridPeriod, NewGridFactors


async def enter_grid_factors(
    connection: Connection, new: NewGridFactors, author: Author, *, replace: bool = False
) -> int:
    """Record factors of a site; returns how many were not recorded already."""
    offered = sorted(new.factors, key=lambda factor: factor.start)
    check_apart(offered, "factor")
    async with writing(connection):
        if await cost_inputs.find_facility(connection, new.facility_id) is None:
            raise NotFoundError(f"There is no facility {new.facility_id}.", "Enter it first.")
        fresh = await _find_fresh(connection, new, offered, replace=replace)
        if fresh:
            await _write(connection, new, fresh, author)
    return len(fresh)


async def _find_fresh(
    connection: Connection, new: NewGridFactors, offered: Sequence[GridPeriod], *, replace: bool
) -> list[GridPeriod]:
    """The factors not recorded already; ConflictError where other ones are, unless `replace`."""
    since, until = offered[0].start, max(factor.until for factor in offered)
    recorded = await grid.find_open_grid_factors(
        connection, new.facility_id, new.kind, since=since, until=until
    )
    known = set(recorded)
    fresh = [
        factor
        for factor in offered
        if (new.source, factor.start, factor.until, factor.per_kwh) not in known
    ]
    rival = None if replace else find_rival(recorded, fresh)
    if rival is not None:
        raise ConflictError(
            f"Facility {new.facility_id} already has {rival.per_kwh:f} per kWh as its {new.kind}"
            f" {describe_period(rival.valid_from, rival.valid_to)}, says {rival.source}.",
            "Send factors of other times, or replace them for that time.",
            "factors",
        )
    return fresh


async def _write(
    connection: Connection, new: NewGridFactors, fresh: Sequence[GridPeriod], author: Author
) -> None:
    batch_seq = await draw_batch_seq(connection)
    starts, ends = [factor.start for factor in fresh], [factor.until for factor in fresh]
    await grid.supersede_grid_factors(
        *(connection, new.facility_id, new.kind), starts=starts, ends=ends, batch_seq=batch_seq
    )
    rows = [
        grid.GridFactor(new.source, factor.start, factor.until, factor.per_kwh) for factor in fresh
    ]
    await grid.copy_grid_factors(connection, new.facility_id, new.kind, rows, batch_seq=batch_seq)
    await keep_write(
        connection,
        author,
        batch_seq=batch_seq,
        action="enter grid factors",
        subject=f"{new.facility_id} / {new.kind}",
        detail={
            **{"facility_id": new.facility_id, "source": new.source, "factors": len(fresh)},
            **{"first": min(starts), "last": max(ends)},
        },
    )
