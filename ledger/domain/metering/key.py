"""Turns who, what and where of an event into two ids: the usage key and the engine key.

Invariant: an id is a hash of the content alone, so that every worker finds the same one; hashes are
made once per distinct combination, not per row.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from threading import Lock
from typing import NamedTuple

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.frames import rows_at, with_series
from ledger.domain.metering.columns import NAMES
from ledger.domain.metering.directory import Directory
from ledger.domain.metering.fact import TIER_SOURCE_SHIFT
from ledger.domain.metering.known_keys import KnownKeys
from ledger.domain.metering.names import DIGEST, WHAT, WHO
from ledger.domain.metering.numbering import combined, first_rows
from ledger.domain.metering.spread import WINDOW_US
from ledger.domain.metering.word_table import UNMET, Words, WordTable

# What a combination is of beside its window, and by what it is known again.
_SAID = (*WHO, *WHAT, "context_band", "outcomes")
_MARKS = (*DIGEST, "context_band", "outcomes")
# Rows of keys, for who resolves one name after another.
ROWS_REMEMBERED = 4_096
# Each takes about 150 bytes.
REMEMBERED_MAX = 250_000
# The number of names of which a directory says different things at different times.
_DATED = -2


_UsageFields = tuple[str | None, str | None, str, str, str, str, str, str, str, str, int, int]


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


class Combination(NamedTuple):
    """Names as an event says them, their band and outcomes, and the start of its window in µs."""

    customer_ref: str
    project_id: str
    api_key_id: str
    agent_id: str
    service_tier_served: str
    model: str
    adapter: str
    region: str
    engine_instance: str
    context_band: int
    outcomes: int
    window_start: int


class KeyedNames(NamedTuple):
    """What a combination of names means by a directory: its keys."""

    usage: UsageKeyRow
    engine: EngineKeyRow


class _Meaning(NamedTuple):
    """The same without ids, field by field as its keys have them, and who said its tier."""

    usage: _UsageFields
    engine: tuple[str, str, str]
    flags: int


class KeyIds(NamedTuple):
    """The keys of some combinations of names, whose they are and who said their tier, in order."""

    usage: Ints
    engine: Ints
    customers: pl.Series
    flags: Ints


@dataclass(frozen=True, slots=True)
class Combinations:
    """Rows of a frame, each of names, marks and a window (its start in µs) that no other has."""

    frame: pl.DataFrame
    leads: Ints
    windows: Ints

    def words(self) -> Words:
        """By what names and marks are known again, a row each."""
        return np.column_stack(
            [self.frame[name].to_numpy()[self.leads].astype(np.uint64) for name in _MARKS]
        )

    def rows(self, some: Sequence[int]) -> list[Combination]:
        """What some of them say."""
        said = rows_at(self.frame, _SAID, self.leads[some])
        starts = self.windows[some].tolist()
        pairs = zip(said.rows(), starts, strict=True)
        return [Combination._make((*row, start)) for row, start in pairs]


@dataclass(frozen=True, slots=True)
class Keyed:
    """A frame with `usage_key_id`, `engine_key_id`, `customer_id` and `flags`, and its keys.

    Rows of one `cell` have both keys and the window of `time` in common. `distinct` are the names
    that `directory` resolved to `ids`.
    """

    frame: pl.DataFrame
    ids: KeyIds
    distinct: Combinations
    directory: Directory

    def beyond(self, known: KnownKeys) -> list[int]:
        """Which of `distinct` have a key that is not known, one of each pair of keys."""
        new = np.flatnonzero(known.lacks(self.ids.usage) | known.lacks(self.ids.engine))
        pairs = zip(self.ids.usage[new].tolist(), self.ids.engine[new].tolist(), strict=True)
        return list(dict(zip(pairs, new.tolist(), strict=True)).values())

    def named(self, some: Sequence[int]) -> list[KeyedNames]:
        """What some of `distinct` mean."""
        said = self.distinct.rows(some) if some else []
        meant = [_meaning(row, self.directory) for row in said]
        # Ids are hashes of what is meant, and were made when it was resolved.
        ids = zip(self.ids.usage[some].tolist(), self.ids.engine[some].tolist(), strict=True)
        return [
            KeyedNames(UsageKeyRow(usage, *each.usage), EngineKeyRow(engine, *each.engine))
            for (usage, engine), each in zip(ids, meant, strict=True)
        ]


def content_id(parts: Iterable[str | int | None]) -> int:
    """A positive 63-bit id of a sequence; None, empty text and numbers are told apart."""
    said = "".join(["n0:" if part is None else _said(str(part)) for part in parts]).encode()
    digest = blake2b(said, digest_size=8, person=b"key1").digest()
    return (int.from_bytes(digest, "big") >> 1) or 1


def _said(text: str) -> str:
    return f"v{len(text) if text.isascii() else len(text.encode())}:{text}"


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
def _engine_key_id(parts: tuple[str, ...]) -> int:
    return content_id(parts)


@dataclass(slots=True)
class Memory:
    """What one directory said of combinations met before, each once: those that it says the same of
    at any time stand there without their window.

    Beyond `most` all are forgotten.
    """

    most: int = REMEMBERED_MAX
    _numbers: WordTable = field(default_factory=WordTable)
    _dated: WordTable = field(default_factory=WordTable)
    _usage: "array[int]" = field(default_factory=lambda: array("q"))
    _engine: "array[int]" = field(default_factory=lambda: array("q"))
    _flags: "array[int]" = field(default_factory=lambda: array("q"))
    # Whose they are: of those met just now, and of the others, as a column that holds them once.
    _fresh: list[str | None] = field(default_factory=list)
    _named: pl.Series = field(default_factory=lambda: pl.Series([], dtype=pl.String))
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        return len(self._usage)

    def ids_of(self, distinct: Combinations, directory: Directory) -> KeyIds:
        """The keys of combinations, in order."""
        with self._lock:
            if len(self) > self.most:
                self._forget()
            numbers = self._numbers_of(distinct, directory)
            if self._fresh:
                named = [self._named, pl.Series(self._fresh, dtype=pl.String)]
                self._named = pl.concat(named, rechunk=True)
                self._fresh.clear()
            usage, engine, flags = (
                np.array(each)[numbers] for each in (self._usage, self._engine, self._flags)
            )
            customers = self._named[pl.Series(numbers.astype(np.uint32))]
            return KeyIds(usage, engine, customers, flags)

    def _numbers_of(self, distinct: Combinations, directory: Directory) -> Ints:
        def of_any_time(row: Combination) -> int:
            return _DATED if _is_dated(row, directory) else self._keep(_meaning(row, directory))

        words = distinct.words()
        numbers = _met(self._numbers, words, distinct, of_any_time)
        dated = np.flatnonzero(numbers == _DATED)
        if dated.size:
            some = Combinations(distinct.frame, distinct.leads[dated], distinct.windows[dated])
            windows = some.windows.astype(np.uint64)
            numbers[dated] = _met(
                self._dated,
                np.column_stack([words[dated], windows]),
                some,
                lambda row: self._keep(_meaning(row, directory)),
            )
        return numbers

    def _keep(self, meaning: _Meaning) -> int:
        self._usage.append(content_id(meaning.usage))
        self._engine.append(_engine_key_id(meaning.engine))
        self._flags.append(meaning.flags)
        self._fresh.append(meaning.usage[1])
        return len(self) - 1

    def _forget(self) -> None:
        self._numbers, self._dated = WordTable(), WordTable()
        self._fresh.clear()
        for each in (self._usage, self._engine, self._flags):
            del each[:]
        self._named = self._named.clear()


def _met(
    table: WordTable, words: Words, distinct: Combinations, number: Callable[[Combination], int]
) -> Ints:
    """The numbers of combinations; those that are not in the table are numbered and kept there."""
    numbers = table.find(words)
    unmet = np.flatnonzero(numbers == UNMET)
    met: dict[bytes, int] = {}
    for at in range(0, unmet.size, ROWS_REMEMBERED):
        some = unmet[at : at + ROWS_REMEMBERED].tolist()
        for n, row in zip(some, distinct.rows(some), strict=True):
            said = words[n].tobytes()
            if said not in met:
                met[said] = number(row)
            numbers[n] = met[said]
    if unmet.size:
        table.add(words[unmet], numbers[unmet])
    return numbers


def _is_dated(said: Combination, directory: Directory) -> bool:
    return directory.is_dated(
        said.customer_ref, said.service_tier_served, api_key_id=said.api_key_id
    )


def assign_keys(frame: pl.DataFrame, directory: Directory, memory: Memory | None = None) -> Keyed:
    """Resolves customer and tier of each row and gives it its two keys.

    `memory` holds what this very directory said of combinations met before.
    """
    windows: Ints = frame["time"].to_numpy() // WINDOW_US
    cells, count = _cells(frame, windows)
    leads = first_rows(cells, count)
    distinct = Combinations(frame, leads, windows[leads] * WINDOW_US)
    known = Memory() if memory is None else memory
    ids = known.ids_of(distinct, directory)
    keyed = with_series(
        frame,
        pl.Series("cell", cells),
        pl.Series("usage_key_id", ids.usage[cells]),
        pl.Series("engine_key_id", ids.engine[cells]),
        ids.customers[pl.Series(cells.astype(np.uint32))].alias("customer_id"),
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


def _meaning(said: Combination, directory: Directory) -> _Meaning:
    customer_id = directory.customer_of(said.customer_ref, said.window_start)
    entity_id = directory.customers[customer_id] if customer_id is not None else None
    tier, said_by = directory.tier_of(
        said.service_tier_served,
        api_key_id=said.api_key_id,
        instance=said.engine_instance,
        model=said.model,
        entity=entity_id or "",
        moment=said.window_start,
    )
    who = (said.customer_ref, said.project_id, said.api_key_id, said.agent_id)
    what = (said.model, said.adapter, said.region, said.context_band, said.outcomes)
    return _Meaning(
        (entity_id, customer_id, *who, tier, *what),
        (said.engine_instance, said.model, tier),
        said_by << TIER_SOURCE_SHIFT,
    )
