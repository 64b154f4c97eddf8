"""Tells the events of a call that are new from those that the ledger has, by their ids."""

import polars as pl

from ledger.domain.metering.identities import NewEvents, Sorted, sort_events, split_doubtful
from ledger.flows.metering.duplicate_filter import DuplicateFilter
from ledger.store.metering.event_keys import find_taken
from ledger.store.queries import Connection


async def take_ids(
    connection: Connection, keyed: pl.DataFrame, duplicate_filter: DuplicateFilter
) -> tuple[NewEvents, Sorted]:
    """The ids to be taken of a frame of KEYED_SCHEMA, and what became of the other rows.

    Whoever is not doubted is not looked up: where an id of theirs is taken, taking it fails.
    """
    asked = duplicate_filter.asked(keyed)
    stored = await find_taken(connection, asked) if asked.height else {}
    duplicate_filter.learn(asked, stored)
    plain, doubtful = split_doubtful(keyed, stored)
    new, rest = sort_events(doubtful, stored)
    return NewEvents(plain, new), rest
