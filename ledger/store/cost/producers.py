"""Reads what deployments took and made."""

from typing import Unpack

from ledger.domain.cost.plausible import (
    OUTPUT_LEAST,
    ImplausibleWork,
    WorkHour,
    find_implausible,
)
from ledger.domain.cost.producer import ProducerSum
from ledger.store.queries import Connection, load_queries
from ledger.store.within import OfEntity

PRODUCERS = load_queries("cost/producers")


async def sum_producers(connection: Connection, **asked: Unpack[OfEntity]) -> list[ProducerSum]:
    """What each deployment took on each hardware, and the tokens that were worked on there."""
    return await PRODUCERS["sum_producers"].values(connection, ProducerSum, **asked)


async def list_implausible(
    connection: Connection, **asked: Unpack[OfEntity]
) -> list[ImplausibleWork]:
    """Work of an entity's deployments that took what no token is known to take."""
    return find_implausible(
        await PRODUCERS["list_work_hours"].values(
            connection, WorkHour, output_least=OUTPUT_LEAST, **asked
        )
    )
