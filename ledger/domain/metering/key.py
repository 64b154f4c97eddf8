"""Turns who, what and where of an event into two ids: the usage key and the engine key.

Invariant: an id is a hash of the content alone, so that every worker finds the same one; hashes are
made once per distinct combination, not per row.
"""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.metering.columns import NAMES
from ledger.domain.metering.directory import Directory
from ledger.domain.metering.fact import TIER_SOURCE_SHIFT
from ledger.domain.metering.numbering import combined, first_rows
from ledger.domain.metering.spread import WINDOW_US, window_of

# Who, what and where of an event, once resolved as far as it says.
WHO = ("customer_ref", "project_id", "api_key_id", "agent_id")
WHAT = ("service_tier_served", "model", "adapter", "region", "engine_instance")
_COMBINATION = (*WHO, *WHAT, "context_band", "window_start")
Combination = tuple[str | int, ...]
REMEMBERED_MAX = 100_000


@dataclass(frozen=True, slots=True)
class UsageKeyRow:
    """A row of usage_key; `customer_id` None is suspense."""

    usage_key_id: int
    entity_id: str | None
    customer_id: str | None
    customer_ref: str
    project_id: str
    api_key_id: str
    agent_id: str
    tier: str
    model: str
    adapter: str
    region: str
    context_band: int


@dataclass(frozen=True, slots=True)
class EngineKeyRow:
    """A row of engine_key."""

    engine_key_id: int
    engine_instance: str
    model: str
    tier: str


class KeyedNames(NamedTuple):
    """What a combination of names means by a directory: its keys, and who said its tier."""

    usage_key_id: int
    engine_key_id: int
    customer_id: str | None
    flags: int
    usage: UsageKeyRow
    engine: EngineKeyRow


@dataclass(frozen=True, slots=True)
class Keyed:
    """A frame with `usage_key_id`, `engine_key_id`, `customer_id` and `flags`, and its keys.

    Rows of one `cell` have both keys and the window of `time` in common.
    """

    frame: pl.DataFrame
    combinations: Sequence[KeyedNames]

    @property
    def usage_keys(self) -> tuple[UsageKeyRow, ...]:
        """Each usage key once."""
        return tuple({names.usage_key_id: names.usage for names in self.combinations}.values())

    @property
    def engine_keys(self) -> tuple[EngineKeyRow, ...]:
        """Each engine key once."""
        return tuple({names.engine_key_id: names.engine for names in self.combinations}.values())


def content_id(parts: Iterable[str | int | None]) -> int:
    """A positive 63-bit id of a sequence; None, empty text and numbers are told apart."""
    hasher = blake2b(digest_size=8, person=b"key1")
    for part in parts:
        raw = b"" if part is None else str(part).encode()
        hasher.update(b"%c%d:" % (b"n" if part is None else b"v", len(raw)))
        hasher.update(raw)
    return (int.from_bytes(hasher.digest(), "big") >> 1) or 1


@lru_cache(REMEMBERED_MAX)
def usage_key(
    *,
    entity_id: str | None,
    customer_id: str | None,
    who: tuple[str, str, str, str],
    tier: str,
    what: tuple[str, str, str],
    context_band: int,
) -> UsageKeyRow:
    """The key of (ref, project, key, agent), tier and (model, adapter, region)."""
    parts = (entity_id, customer_id, *who, tier, *what, context_band)
    return UsageKeyRow(content_id(parts), *parts)


@lru_cache(REMEMBERED_MAX)
def engine_key(engine_instance: str, model: str, tier: str) -> EngineKeyRow:
    """Where an attempt ran, as far as its event says."""
    parts = (engine_instance, model, tier)
    return EngineKeyRow(content_id(parts), *parts)


def name_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Adds who is billed (`customer_ref`: the data's customer, else the subject) and the model."""
    model = pl.coalesce("served_model", "response_model", "request_model")
    texts = ("project_id", "api_key_id", "agent_id", "adapter", "region", "engine_instance")
    return frame.with_columns(
        customer_ref=pl.coalesce("customer_id", "subject").fill_null(""),
        model=model.fill_null(""),
        **{name: pl.col(name).fill_null("") for name in (*texts, "service_tier_served")},
    ).drop("customer_id")


Memory = MutableMapping[Combination, KeyedNames]


def assign_keys(frame: pl.DataFrame, directory: Directory, memory: Memory | None = None) -> Keyed:
    """Resolves customer and tier of each row and gives it its two keys.

    `memory` holds what this very directory said of combinations met before; those that it says
    the same of at any time stand there once, without their window.
    """
    known = {} if memory is None else memory
    windows = frame.select(window_of()).to_series()
    cells, count = _cells(frame, windows)
    leads = first_rows(cells, count)
    distinct = frame.with_columns(window_start=windows)[leads].select(_COMBINATION)
    assigned = [
        known.get(row[:-1]) or known.get(row) or _remember(row, directory, known)
        for row in distinct.rows()
    ]
    usage, engine, customers, flags, *_ = zip(*assigned, strict=True) if assigned else ((),) * 4
    keyed = frame.with_columns(
        pl.Series("cell", cells),
        pl.Series("usage_key_id", np.array(usage, np.int64)[cells]),
        pl.Series("engine_key_id", np.array(engine, np.int64)[cells]),
        pl.Series("customer_id", customers, pl.String)[pl.Series(cells.astype(np.uint32))],
        pl.col("flags") + pl.Series(np.array(flags, np.int32)[cells]),
    )
    return Keyed(keyed, assigned)


def _cells(frame: pl.DataFrame, windows: pl.Series) -> tuple[Ints, int]:
    """Numbers of rows, the same where names, band and window are."""
    if frame.height == 0:
        return np.empty(0, np.int64), 0
    columns = (frame[NAMES], frame["context_band"].cast(pl.Int64), windows // WINDOW_US)
    numbers: list[Ints] = [column.to_numpy() - column.to_numpy().min() for column in columns]
    return combined([(each, int(each.max()) + 1) for each in numbers], frame.height)


def _remember(combination: Combination, directory: Directory, known: Memory) -> KeyedNames:
    if len(known) >= REMEMBERED_MAX:
        known.clear()
    said = dict(zip(_COMBINATION, combination, strict=True))
    dated = directory.is_dated(
        str(said["customer_ref"]),
        str(said["service_tier_served"]),
        api_key_id=str(said["api_key_id"]),
    )
    known[combination if dated else combination[:-1]] = names = _resolve(said, directory)
    return names


def _resolve(said: Mapping[str, str | int], directory: Directory) -> KeyedNames:
    text = {name: str(said[name]) for name in (*WHO, *WHAT)}
    moment = int(said["window_start"])
    customer_id = directory.customer_of(text["customer_ref"], moment)
    entity_id = directory.customers[customer_id] if customer_id is not None else None
    tier, said_by = directory.tier_of(
        text["service_tier_served"],
        api_key_id=text["api_key_id"],
        instance=text["engine_instance"],
        model=text["model"],
        entity=entity_id or "",
        moment=moment,
    )
    row = usage_key(
        entity_id=entity_id,
        customer_id=customer_id,
        who=(text["customer_ref"], text["project_id"], text["api_key_id"], text["agent_id"]),
        tier=tier,
        what=(text["model"], text["adapter"], text["region"]),
        context_band=int(said["context_band"]),
    )
    where = engine_key(text["engine_instance"], text["model"], tier)
    flags = said_by << TIER_SOURCE_SHIFT
    return KeyedNames(row.usage_key_id, where.engine_key_id, customer_id, flags, row, where)
