"""Reads what facts counted of extras, which lies beside them wherever they are."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import polars as pl

from ledger.domain.metering.extras import COUNTED
from ledger.store.queries import Connection, load_queries

QUERIES = load_queries("metering/extras")


async def find_extras(connection: Connection, facts: pl.DataFrame) -> pl.DataFrame | None:
    """What the facts at `batch_seq` and `fact_ordinal` count, under the `ordinal` of each row; None
    where they have no extras."""
    rows = await QUERIES["find_extras"].rows(
        connection,
        batch_seqs=facts["batch_seq"].to_list(),
        fact_ordinals=facts["fact_ordinal"].to_list(),
        ordinals=facts["ordinal"].to_list(),
    )
    counted = [(row["ordinal"], row["meter"], row["quantity"]) for row in rows]
    return pl.DataFrame(counted, COUNTED, orient="row") if counted else None


async def find_extras_at(
    connection: Connection, keys: Sequence[tuple[int, int]]
) -> Mapping[tuple[int, int], Mapping[str, int]]:
    """What the facts at (batch_seq, ordinal) count by meter, with their sign; of those that
    have extras."""
    rows = await QUERIES["find_extras"].rows(
        connection,
        batch_seqs=[batch_seq for batch_seq, _ in keys],
        fact_ordinals=[ordinal for _, ordinal in keys],
        ordinals=list(range(len(keys))),
    )
    counted: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)
    for row in rows:
        counted[keys[row["ordinal"]]][row["meter"]] = row["quantity"]
    return counted
