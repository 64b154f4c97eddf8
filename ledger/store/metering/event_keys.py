"""Takes ids of keyed events, and finds who took them: eight to a row, each in its key's slot."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints, Octets
from ledger.domain.frames import in_order, only
from ledger.domain.metering.event_key import KEY_BYTES, KEY_COLUMNS, event_keys, key_octets
from ledger.domain.metering.identities import EventId, StoredEvent
from ledger.store.binary import Field, Rows, field, uuids
from ledger.store.copying import copy_binary
from ledger.store.queries import Connection, load_queries

EVENT_KEYS = load_queries("metering/event_keys")
SLOTS = 8
_KEY, _ORDINAL = f"V{KEY_BYTES}", ">i4"


@dataclass(frozen=True, slots=True)
class DrawnBatch:
    """The number of a batch, and what the directory's was once that was drawn."""

    batch_seq: int
    directory_version: int


async def find_event_keys(
    connection: Connection, events: Sequence[EventId]
) -> dict[EventId, StoredEvent]:
    """The events that took these ids."""
    sources = pl.Series([event.source_id for event in events], dtype=pl.Int32)
    ids = pl.Series([event.event_id for event in events], dtype=pl.String)
    stored = await _find(connection, event_keys(sources, ids))
    return {events[n]: event for n, event in stored.items()}


async def find_taken(connection: Connection, keyed: pl.DataFrame) -> dict[EventId, StoredEvent]:
    """Which ids of a frame of KEYED_SCHEMA are taken, and by what."""
    ordered = in_order(keyed, *KEY_COLUMNS)
    stored = await _find(connection, key_octets(ordered))
    taken = only(ordered, ("source_id", "id"))[list(stored)] if stored else ordered.clear()
    return {
        EventId(*name): event
        for name, event in zip(taken.iter_rows(), stored.values(), strict=True)
    }


async def _find(connection: Connection, keys: Octets) -> dict[int, StoredEvent]:
    rows = await EVENT_KEYS["find_event_keys"].rows(connection, keys=_listed(keys))
    return {
        row["n"] - 1: StoredEvent(
            row["digest"], row["batch_seq"], row["ordinal"], row["owner"] or ""
        )
        for row in rows
    }


def _listed(keys: Octets) -> list[bytes]:
    octets = keys.tobytes()
    return [octets[at : at + KEY_BYTES] for at in range(0, len(octets), KEY_BYTES)]


async def draw_batch(connection: Connection) -> DrawnBatch:
    """Draw a batch's number, for who stores by slow facts that were read before."""
    (drawn,) = await EVENT_KEYS["draw_batch"].values(connection, DrawnBatch)
    return drawn


async def take_event_keys(connection: Connection, keyed: pl.DataFrame) -> DrawnBatch:
    """Draw a batch's number and take a few ids.

    UniqueViolationError where another writer was first.
    """
    slots = _slots(keyed)
    lines, filled = [], dict[tuple[str | None, int], int]()
    for at in zip(keyed["owner"].to_list(), slots.tolist(), strict=True):
        lines.append(filled.setdefault(at, 0))
        filled[at] += 1
    (drawn,) = await EVENT_KEYS["take_event_keys"].values(
        connection,
        DrawnBatch,
        lines=lines,
        slots=slots.tolist(),
        keys=_listed(key_octets(keyed)),
        digests=keyed["digest"].to_list(),
        ordinals=keyed["row"].to_list(),
        owners=keyed["owner"].to_list(),
    )
    return drawn


async def copy_event_keys(connection: Connection, keyed: pl.DataFrame, *, batch_seq: int) -> None:
    """Take ids in the order of their keys; UniqueViolationError where another was first."""
    owned = [keyed]
    if keyed["owner"].null_count() < keyed.height:
        owned = keyed.partition_by("owner", maintain_order=True)
    for mine in owned:
        encoded = Rows(_rows(mine))
        encoded.number(batch_seq)
        await copy_binary(connection, "event_key", encoded)


def _rows(keyed: pl.DataFrame) -> list[Field]:
    """Rows of event_key, of one owner: the first of each slot, then the second of each, and on."""
    slots = _slots(keyed)
    counts = np.bincount(slots, minlength=SLOTS)
    order, ends, height = np.argsort(slots, kind="stable"), np.cumsum(counts), int(counts.max())
    keys = key_octets(keyed).view(_KEY).reshape(-1)
    digests = uuids("digest", keyed["digest"]).values
    ordinals = keyed["row"].to_numpy().astype(np.int32)
    owner = keyed["owner"].head(1).new_from_index(0, height)
    fields = [] if owner.null_count() else [field("owner", owner)]
    for slot, (end, count) in enumerate(zip(ends, counts, strict=True)):
        mine = np.zeros(height, np.int64)
        mine[:count] = order[end - count : end]
        known = None if count == height else np.arange(height) < count
        fields += [
            Field(f"key_{slot}", keys[mine], _KEY, known),
            Field(f"digest_{slot}", digests[mine], _KEY, known),
            Field(f"ordinal_{slot}", ordinals[mine], _ORDINAL, known),
        ]
    return fields


def _slots(keyed: pl.DataFrame) -> Ints:
    slots: Ints = (keyed["key_low"].to_numpy() & np.uint64(SLOTS - 1)).astype(np.int64)
    return slots
