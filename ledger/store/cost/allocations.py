"""What is allocated of windows: rows of many lines, whose amounts are arrays."""

from collections.abc import Sequence
from datetime import datetime
from itertools import chain

import numpy as np
import polars as pl

from ledger.domain.apportion import units_of
from ledger.domain.cost.allocation import COSTS
from ledger.domain.cost.cost_line import (
    ALLOCATION,
    ALLOCATION_KEY,
    LINE,
    LINE_KEY,
    SHARE,
    Allocations,
)
from ledger.store.binary import Rows
from ledger.store.binary_arrays import arrays
from ledger.store.connect import CutOff
from ledger.store.copying import copy_binary
from ledger.store.queries import Connection, load_queries

ALLOCATIONS = load_queries("cost/allocations")
COLUMNS = (*ALLOCATION, *SHARE, "cut_off_id", "batch_seq", "entity_id")


async def find_allocations(
    connection: Connection, *, entity_id: str, windows: Sequence[datetime]
) -> Allocations:
    """What is allocated of an entity's windows as it stands."""
    stored = await ALLOCATIONS["find_allocations"].rows(
        connection, entity_id=entity_id, windows=list(windows)
    )
    rows = pl.DataFrame({name: [row[name] for row in stored] for name in ALLOCATION}, ALLOCATION)
    said = {name: list(chain.from_iterable(row[name] for row in stored)) for name in SHARE}
    said |= {name: [units_of(amount) for amount in said[name]] for name in COSTS}
    at = np.repeat(np.arange(len(stored)), [len(row["usage_key_id"]) for row in stored])
    lines = rows[at].hstack(pl.DataFrame(said, SHARE))
    return Allocations(rows, lines.select(*LINE))


async def append_allocations(
    connection: Connection,
    allocations: Allocations,
    *,
    entity_id: str,
    cut_off: CutOff,
    batch_seq: int,
) -> None:
    """Store what is allocated otherwise from now on."""
    rows = allocations.rows
    if rows.is_empty():
        return
    key = list(ALLOCATION_KEY)
    lines = allocations.lines.sort(LINE_KEY)
    counted = rows.join(lines.group_by(key).len(), on=key, how="left", maintain_order="left")
    counts = counted["len"].fill_null(0)
    encoded = rows.with_columns(
        *(arrays(lines[name], counts) for name in SHARE),
        cut_off_id=pl.lit(cut_off.cut_off_id, pl.Int64),
        entity_id=pl.lit(entity_id),
    )
    sent = Rows.of(encoded, COLUMNS)
    sent.number(batch_seq)
    await copy_binary(connection, "cost_allocation", sent)
