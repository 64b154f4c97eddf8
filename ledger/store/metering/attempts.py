"""Attempts as facts say them, summed where they ran: what stands beside an engine's counters."""

from datetime import datetime
from typing import NamedTuple, Unpack

from ledger.domain.metering.fact import Flag
from ledger.domain.metering.reconcile import INPUT, OUTPUT, Attempts
from ledger.store.queries import Connection, load_queries
from ledger.store.within import Within

ATTEMPTS = load_queries("metering/attempts")


class AttemptHour(NamedTuple):
    """What events say of an engine instance in an hour."""

    engine_instance: str
    hour: datetime
    requests: int
    unfinished: int
    input_over_edge: int
    output_over_edge: int


async def sum_attempts(
    connection: Connection, **within: Unpack[Within]
) -> dict[tuple[str, datetime], Attempts]:
    """What events say by engine instance and hour in [since, until)."""
    hours = await ATTEMPTS["sum_attempts"].values(
        connection,
        AttemptHour,
        unfinished=int(Flag.INCOMPLETE | Flag.ESTIMATED),
        **within,
    )
    return {
        (of.engine_instance, of.hour): Attempts(
            requests=of.requests,
            unfinished=of.unfinished,
            over_edge={INPUT: of.input_over_edge, OUTPUT: of.output_over_edge},
        )
        for of in hours
    }
