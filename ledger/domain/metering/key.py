"""Turns who, what and where of an event into two ids: the usage key and the engine key.

Invariant: an id is a hash of the content alone, so that every worker finds the same one; hashes are
made once per distinct combination, not per row.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from threading import Lock
from typing import NamedTuple

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.frames import MANY_ROWS, only, rows_at, with_series
from ledger.domain.metering.columns import NAMES
from ledger.domain.metering.directory import Directory
from ledger.domain.metering.fact import TIER_SOURCE_SHIFT
from ledger.domain.metering.known_keys import KnownKeys
from ledger.domain.metering.numbering import combined, first_rows
from ledger.domain.metering.spread import WINDOW_US

# Who, what and where of an event, once resolved as far as it says.
WHO = ("customer_ref", "project_id", "api_key_id", "agent_id")
WHAT = ("service_tier_served", "model", "adapter", "region", "engine_instance")
_ALWAYS = (*WHO, *WHAT, "context_band", "outcomes")
_COMBINATION = (*_ALWAYS, "window_start")
# No name has it: the database would refuse it as text.
_BETWEEN = "\0"
# Rows of keys, for who resolves one name after another.
ROWS_REMEMBERED = 4_096
# Each takes about 300 bytes.
REMEMBERED_MAX = 250_000
_UNMET = -1


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
    outcomes: int = 0


@dataclass(frozen=True, slots=True)
class EngineKeyRow:
    """A row of engine_key."""

    engine_key_id: int
    engine_instance: str
    model: str
    tier: str


class KeyedNames(NamedTuple):
    """What a combination of names means by a directory: its keys, and who said its tier."""

    usage: UsageKeyRow
    engine: EngineKeyRow
    flags: int


class KeyIds(NamedTuple):
    """The keys of some combinations of names, whose they are and who said their tier, in order."""

    usage: Ints
    engine: Ints
    customers: Sequence[str | None]
    flags: Ints


@dataclass(frozen=True, slots=True)
class Keyed:
    """A frame with `usage_key_id`, `engine_key_id`, `customer_id` and `flags`, and its keys.

    Rows of one `cell` have both keys and the window of `time` in common. `distinct` has the names
    that `directory` resolved to `ids`, a row each.
    """

    frame: pl.DataFrame
    ids: KeyIds
    distinct: pl.DataFrame
    directory: Directory

    @property
    def usage_keys(self) -> tuple[UsageKeyRow, ...]:
        """Each usage key once."""
        return tuple(each.usage for each in self.named(self.beyond(KnownKeys())))

    def beyond(self, known: KnownKeys) -> list[int]:
        """Rows of `distinct` that have a key which is not known, one of each pair of keys."""
        new = np.flatnonzero(known.lacks(self.ids.usage) | known.lacks(self.ids.engine))
        pairs = zip(self.ids.usage[new].tolist(), self.ids.engine[new].tolist(), strict=True)
        return list(dict(zip(pairs, new.tolist(), strict=True)).values())

    def named(self, rows: Sequence[int]) -> list[KeyedNames]:
        """What rows of `distinct` mean."""
        named = self.distinct[list(rows)].rows() if rows else []
        return [_resolve(row, self.directory) for row in named]


def content_id(parts: Iterable[str | int | None]) -> int:
    """A positive 63-bit id of a sequence; None, empty text and numbers are told apart."""
    said = []
    for part in parts:
        raw = b"" if part is None else str(part).encode()
        said.append(b"%c%d:%b" % (b"n" if part is None else b"v", len(raw), raw))
    digest = blake2b(b"".join(said), digest_size=8, person=b"key1").digest()
    return (int.from_bytes(digest, "big") >> 1) or 1


@lru_cache(ROWS_REMEMBERED)
def usage_key(
    *,
    entity_id: str | None,
    customer_id: str | None,
    who: tuple[str, str, str, str],
    tier: str,
    what: tuple[str, str, str],
    context_band: int,
    outcomes: int = 0,
) -> UsageKeyRow:
    """The key of (ref, project, key, agent), tier, (model, adapter, region) and outcomes."""
    parts = (entity_id, customer_id, *who, tier, *what, context_band, outcomes)
    return UsageKeyRow(content_id(parts), *parts)


@lru_cache(ROWS_REMEMBERED)
def engine_key(engine_instance: str, model: str, tier: str) -> EngineKeyRow:
    """Where an attempt ran, as far as its event says."""
    parts = (engine_instance, model, tier)
    return EngineKeyRow(content_id(parts), *parts)


@lru_cache(256)
def names(said: frozenset[str]) -> Mapping[str, pl.Expr]:
    """Who is billed (`customer_ref`: the data's customer, else the subject), the model, and the
    other names, empty where nobody said; over the columns of which some row says something."""
    texts = ("project_id", "api_key_id", "agent_id", "adapter", "region", "engine_instance")
    named = {
        "customer_ref": ("customer_id", "subject"),
        "model": ("served_model", "response_model", "request_model"),
        **{name: (name,) for name in (*texts, "service_tier_served")},
    }
    return {name: _first(said, columns) for name, columns in named.items()}


def _first(said: frozenset[str], columns: Sequence[str]) -> pl.Expr:
    there = [pl.col(name) for name in columns if name in said]
    return pl.coalesce(*there, pl.lit("")) if there else pl.lit("")


@dataclass(slots=True)
class Memory:
    """What one directory said of combinations of names met before, each once: those that it says
    the same of at any time stand there without their window.

    Many take little room, a text and numbers each; beyond `most` all are forgotten.
    """

    most: int = REMEMBERED_MAX
    _numbers: dict[str, int] = field(default_factory=dict)
    _usage: "array[int]" = field(default_factory=lambda: array("q"))
    _engine: "array[int]" = field(default_factory=lambda: array("q"))
    _flags: "array[int]" = field(default_factory=lambda: array("q"))
    _customers: list[str | None] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        return len(self._numbers)

    def ids_of(self, distinct: pl.DataFrame, directory: Directory) -> KeyIds:
        """The keys of combinations, a row each."""
        with self._lock:
            if len(self._numbers) > self.most:
                self._forget()
            texts = _texts(distinct)
            numbers = [self._numbers.get(text, _UNMET) for text in texts]
            unmet = [n for n, number in enumerate(numbers) if number == _UNMET]
            for at in range(0, len(unmet), ROWS_REMEMBERED):
                some = unmet[at : at + ROWS_REMEMBERED]
                for n, row in zip(some, distinct[some].rows(), strict=True):
                    numbers[n] = self._number_of(texts[n], row, directory)
            wanted = np.array(numbers, np.int64)
            usage, engine, flags = (
                np.array(each)[wanted] for each in (self._usage, self._engine, self._flags)
            )
            return KeyIds(usage, engine, [self._customers[n] for n in numbers], flags)

    def _number_of(self, text: str, row: tuple[str | int, ...], directory: Directory) -> int:
        said = dict(zip(_COMBINATION, row, strict=True))
        if directory.is_dated(
            str(said["customer_ref"]),
            str(said["service_tier_served"]),
            api_key_id=str(said["api_key_id"]),
        ):
            text = f"{text}{_BETWEEN}{row[-1]}"
        number = self._numbers.get(text)
        if number is None:
            names = _resolve(row, directory)
            number = self._numbers[text] = len(self._customers)
            self._usage.append(names.usage.usage_key_id)
            self._engine.append(names.engine.engine_key_id)
            self._flags.append(names.flags)
            self._customers.append(names.usage.customer_id)
        return number

    def _forget(self) -> None:
        self._numbers.clear()
        self._customers.clear()
        for each in (self._usage, self._engine, self._flags):
            del each[:]


def _texts(distinct: pl.DataFrame) -> list[str]:
    """Combinations as texts, but for their windows."""
    names = only(distinct, _ALWAYS)
    if names.height < MANY_ROWS:
        return [_BETWEEN.join(map(str, row)) for row in names.rows()]
    return names.select(pl.concat_str(_ALWAYS, separator=_BETWEEN)).to_series().to_list()


def assign_keys(frame: pl.DataFrame, directory: Directory, memory: Memory | None = None) -> Keyed:
    """Resolves customer and tier of each row and gives it its two keys.

    `memory` holds what this very directory said of combinations met before.
    """
    windows: Ints = frame["time"].to_numpy() // WINDOW_US
    cells, count = _cells(frame, windows)
    leads = first_rows(cells, count)
    starts = pl.Series("window_start", windows[leads] * WINDOW_US)
    distinct = with_series(rows_at(frame, _ALWAYS, leads), starts)
    known = Memory() if memory is None else memory
    ids = known.ids_of(distinct, directory)
    keyed = with_series(
        frame,
        pl.Series("cell", cells),
        pl.Series("usage_key_id", ids.usage[cells]),
        pl.Series("engine_key_id", ids.engine[cells]),
        pl.Series("customer_id", ids.customers, pl.String)[pl.Series(cells.astype(np.uint32))],
        frame["flags"] + pl.Series(ids.flags.astype(np.int32)[cells]),
    )
    return Keyed(keyed, ids, distinct, directory)


def _cells(frame: pl.DataFrame, windows: Ints) -> tuple[Ints, int]:
    """Numbers of rows, the same where names, band, outcomes and window are."""
    if frame.height == 0:
        return np.empty(0, np.int64), 0
    marks = (frame[name].cast(pl.Int64).to_numpy() for name in ("context_band", "outcomes"))
    columns: tuple[Ints, ...] = (frame[NAMES].to_numpy(), *marks, windows)
    numbers = [column - column.min() for column in columns]
    return combined([(each, int(each.max()) + 1) for each in numbers], frame.height)


def _resolve(combination: tuple[str | int, ...], directory: Directory) -> KeyedNames:
    said = dict(zip(_COMBINATION, combination, strict=True))
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
        outcomes=int(said["outcomes"]),
    )
    where = engine_key(text["engine_instance"], text["model"], tier)
    return KeyedNames(row, where, said_by << TIER_SOURCE_SHIFT)
