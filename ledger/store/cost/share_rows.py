"""Lines of usage as rows of `cost_share`, many in a row, encoded run by run as they are sent."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.compiled import compiled
from ledger.domain.cost.cause import USAGE
from ledger.domain.cost.line_runs import SHARE, LineRuns
from ledger.domain.cost.lines_again import ScopeWindow
from ledger.domain.cost.share import COSTS
from ledger.domain.metering.times import micros
from ledger.store.binary import EPOCH_US, HEADER, TRAILER
from ledger.store.binary_arrays import ArrayWriter
from ledger.store.copying import Buffer

_NARROW = tuple(name for name in SHARE if name not in COSTS)
# Costs are told in two numbers of 64 bits each.
_HIGH, _LOW = tuple(f"{name}_high" for name in COSTS), tuple(f"{name}_low" for name in COSTS)
ARRAYS = (*_NARROW, *_HIGH, *_LOW)
SHARE_COLUMNS = ("entity_id", "window_start", "scope", "revision", "batch_seq", "recalled_at")
HALF = 10**16
_WIDE_HALF = pl.Series([HALF], dtype=pl.Int128)


class StoredAs(NamedTuple):
    """Of which revision lines are, and by which batch they were stored."""

    revision: int
    batch_seq: int


class ShareRows:
    """Some runs of lines, by their numbers, as rows under what each is stored as; `digests` has the
    SHA-256 of those that were sent, in their order."""

    columns = (*SHARE_COLUMNS, *ARRAYS)

    def __init__(
        self,
        entity_id: str,
        lines: LineRuns,
        stored: Mapping[int, StoredAs],
        recalled_at: datetime | None = None,
    ) -> None:
        self.digests: list[bytes] = []
        self._entity_id, self._lines, self._stored = entity_id, lines, stored
        self._recalled_at = recalled_at

    def chunks(self) -> Iterator[bytes]:
        """The stream of COPY, a row at a time."""
        yield HEADER
        count = len(self.columns).to_bytes(2, "big")
        keys = self._lines.of.select("window_start", "scope").rows()
        recalled = _NULL if self._recalled_at is None else _field(_time(self._recalled_at))
        arrays = _encoded(self._lines, [*self._stored])
        for (run, stored), (pieces, digest) in zip(self._stored.items(), arrays, strict=True):
            self.digests.append(digest)
            start, scope = keys[run]
            own = (
                *(self._entity_id.encode(), _time(start), scope.encode()),
                *(stored.revision.to_bytes(4, "big"), stored.batch_seq.to_bytes(8, "big")),
            )
            yield b"".join([count, *map(_field, own), recalled, *pieces])
        yield TRAILER


_NULL = (-1).to_bytes(4, "big", signed=True)


def _time(moment: datetime) -> bytes:
    return (micros(moment) - EPOCH_US).to_bytes(8, "big", signed=True)


def _field(octets: bytes) -> bytes:
    return len(octets).to_bytes(4, "big") + octets


class _Arrays(NamedTuple):
    """ARRAYS of a run as pieces of fields, of which those without anything in them are none, until
    the next run is encoded; and the SHA-256 of all."""

    pieces: Sequence[Buffer]
    digest: bytes


def digests_of(lines: LineRuns) -> dict[ScopeWindow, bytes]:
    """The SHA-256 of runs of usage, by scope and window."""
    usage = lines.of.with_row_index("run").filter(line=USAGE)
    keys = usage.select("scope", "window_start").iter_rows()
    arrays = _encoded(lines, usage["run"].to_list())
    return {key: digest for key, (_, digest) in zip(keys, arrays, strict=True)}


def _encoded(lines: LineRuns, runs: Sequence[int]) -> Iterator[_Arrays]:
    writer = ArrayWriter(len(ARRAYS), int(lines.counts.max(initial=0)))
    columns = [lines.taken[name] for name in SHARE]
    ends = np.cumsum(lines.counts)
    for run in runs:
        end, count = int(ends[run]), int(lines.counts[run])
        values = _values([column.slice(end - count, count) for column in columns])
        octets = writer.write(values)
        size = len(octets) // len(values)
        length, pieces = size.to_bytes(4, "big"), list[Buffer]()
        for at, row in enumerate(values):
            pieces += (length, octets[at * size : (at + 1) * size]) if row.any() else (_NULL,)
        yield _Arrays(pieces, sha256(octets).digest())


def _values(columns: Sequence[pl.Series]) -> Ints:
    """Columns of SHARE as rows of ARRAYS."""
    values = np.empty((len(ARRAYS), len(columns[0])), np.int64)
    costs = len(ARRAYS) - 2 * len(COSTS)
    for row, column in zip(values, columns[:costs], strict=False):
        row[:] = column.to_numpy()
    high, low = values[costs : costs + len(COSTS)], values[costs + len(COSTS) :]
    for above, below, cost in zip(high, low, columns[costs:], strict=True):
        if cost.dtype == pl.Int64:
            _halve(cost.to_numpy(), above, below)
        else:
            above[:], below[:] = _halved(cost)
    return values


@compiled
def _halve(cost: Ints, high: Ints, low: Ints) -> None:
    """Fill in how often HALF is in costs, and what is left of them."""
    for n in range(cost.size):
        high[n] = cost[n] // HALF
        low[n] = cost[n] - high[n] * HALF


def _halved(cost: pl.Series) -> tuple[Ints, Ints]:
    """The same of costs beyond 64 bits."""
    above = cost // _WIDE_HALF
    below = cost - above * _WIDE_HALF
    return above.cast(pl.Int64).to_numpy(), below.cast(pl.Int64).to_numpy()
