"""Lays the bodies of a call one after the other and finds the items in them, a row each.

Invariant: a body that is not blank has at least one item; one unreadable item never hides another.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ledger.domain.arrays import Ints, Octets, Words, padded, words_of
from ledger.domain.metering.decode import Reject
from ledger.domain.metering.fact import Reason
from ledger.domain.metering.lines import ITEMS_MAX, is_lines, split_body, too_many_items
from ledger.domain.metering.record import Record
from ledger.wire.columnar import ColumnarBatch, event_at, read_columns
from ledger.wire.errors import ColumnarError
from ledger.wire.ndjson import MARK, encode_event

# Below this a body is split in Python: the compiled loops need not be loaded for one event.
COMPILED_BYTES_MIN = 32 * 1024
_LINE_BYTES_MIN = 2
Spans = tuple[Ints, Ints]
_NONE = np.empty(0, np.int64)


@dataclass(slots=True)
class Items:
    """Every item of a call by its row; `firsts` is each record's first row, `sizes` its items.

    `records` have lost their bodies. A record without items has a row all the same. `owners` is the
    record of each row, `rejects` are rows refused unread, `kept` are rows as bytes: of columnar
    batches those asked for, and once bodies were let go of those that may be asked for again.
    """

    records: Sequence[Record]
    octets: Octets
    words: Words
    starts: Ints
    ends: Ints
    firsts: Ints
    sizes: Ints
    owners: Ints
    rejects: dict[int, Reject] = field(default_factory=dict)
    batches: dict[int, ColumnarBatch] = field(default_factory=dict)
    kept: dict[int, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.owners.size)

    def __getitem__(self, row: int) -> bytes:
        if row in self.kept:
            return self.kept[row]
        owner = int(self.owners[row])
        if owner in self.batches:
            self.kept[row] = self._event(owner, row)
            return self.kept[row]
        return self.octets[self.starts[row] : self.ends[row]].tobytes()

    def _event(self, owner: int, row: int) -> bytes:
        """An event of a columnar batch as a line."""
        ordinal = row - int(self.firsts[owner])
        return encode_event(
            event_at(self.batches[owner], ordinal, self.records[owner].header)
        ).rstrip()

    def let_go(self, rows: Iterable[int]) -> None:
        """Keep the bytes of these rows alone."""
        self.kept |= {row: self[row] for row in rows}
        self.octets, self.starts, self.ends = padded([], 0), _NONE, _NONE
        self.words = words_of(self.octets)

    def readable(self) -> Ints:
        """The rows to be decoded that are bytes."""
        there = self.ends > self.starts
        there[list(self.rejects)] = False
        return np.flatnonzero(there)


def split_records(records: Iterable[Record], *, body_bytes_max: int) -> Items:
    """The items of all records; a body that cannot be read as a batch is one item, refused."""
    pieces, batches = _Pieces(), dict[int, ColumnarBatch]()
    pieced, bare = [], []
    for sent in records:
        pieced.append(_find(sent, pieces, body_bytes_max))
        # Their bytes are laid out here; kept twice they would be half of a worker's memory.
        bare.append(sent.without_body())
    octets = padded(pieces.taken(), pieces.size)
    words = words_of(octets)
    spans, rejects, first = [], {}, 0
    sizes = np.zeros(len(bare), np.int64)
    for n, (record, (whole, items)) in enumerate(zip(bare, pieced, strict=True)):
        own = _lines(octets, words, whole) if items is None else items
        if isinstance(own, ColumnarBatch):
            batches[n], own = own, _no_bytes(own.count)
        wrong = own if isinstance(own, Reject) else _wrong_count(record, own)
        if wrong is not None:
            rejects[first] = _placed(wrong, record)
            batches.pop(n, None)
            own = _span([whole])
        assert not isinstance(own, Reject)
        sizes[n] = own[0].size
        spans.append(own if own[0].size else _no_bytes(1))
        first += spans[-1][0].size
    rows = np.maximum(sizes, 1)
    return Items(
        records=bare,
        octets=octets,
        words=words,
        starts=np.concatenate([starts for starts, _ in spans] or [_NONE]),
        ends=np.concatenate([ends for _, ends in spans] or [_NONE]),
        firsts=np.cumsum(rows) - rows,
        sizes=sizes,
        owners=np.repeat(np.arange(len(bare)), rows),
        rejects=rejects,
        batches=batches,
    )


@dataclass(slots=True)
class _Pieces:
    """The bytes of a call as they are laid one after the other."""

    parts: deque[bytes] = field(default_factory=deque)
    size: int = 0

    def lay(self, part: bytes) -> tuple[int, int]:
        at = self.size
        self.parts.append(part)
        self.size += len(part)
        return at, self.size

    def taken(self) -> Iterator[bytes]:
        """The parts in order, each of them let go."""
        while self.parts:
            yield self.parts.popleft()


def _find(
    record: Record, pieces: _Pieces, limit: int
) -> tuple[tuple[int, int], Spans | Reject | ColumnarBatch | None]:
    """The whole body, and its items; None where they are the body's lines."""
    body = record.body if record.is_columnar else record.body.removeprefix(MARK)
    source = record.header.source if record.header else ""
    if record.refusal:
        return pieces.lay(body), Reject(record.refused_for, record.refusal, None, source)
    if len(body) > limit:
        detail = f"body: found {len(body)} bytes; send at most {limit}"
        return pieces.lay(body), Reject(Reason.BODY_TOO_LARGE, detail, None, source)
    if record.is_columnar:
        return pieces.lay(body), _read_columns(record)
    if len(body) >= COMPILED_BYTES_MIN and is_lines(body):
        return pieces.lay(body), None
    if too_many_items(body):
        return pieces.lay(body), _too_many(source)
    whole, items = pieces.lay(body), split_body(body)
    # Most small bodies are one event and nothing else: it is laid once.
    is_item = len(items) == 1 and len(items[0]) == len(body)
    return whole, _span([whole] if is_item else [pieces.lay(item) for item in items])


def _read_columns(record: Record) -> ColumnarBatch | Reject:
    try:
        return read_columns(record.body, highest=highest)
    except ColumnarError as error:
        source = record.header.source if record.header else ""
        return Reject(Reason.BAD_COLUMNS, str(error), None, source)


def highest(data: memoryview, width: int) -> int:
    """The largest of a column's values as they are stored."""
    return int(np.frombuffer(data, f"<u{width}").max())


def _span(spans: Sequence[tuple[int, int]]) -> Spans:
    edges = np.array(spans, np.int64).reshape(-1, 2)
    return edges[:, 0], edges[:, 1]


def _no_bytes(items: int) -> Spans:
    """The spans of items that are not bytes."""
    return np.zeros(items, np.int64), np.zeros(items, np.int64)


def _lines(octets: Octets, words: Words, whole: tuple[int, int]) -> Spans:
    # Loaded here, because most processes never meet a large body.
    from ledger.domain.metering.ndjson.scan import split_lines

    at, end = whole
    most = min((end - at) // _LINE_BYTES_MIN + 1, ITEMS_MAX + 1)
    starts, ends = np.empty(most, np.int64), np.empty(most, np.int64)
    count = split_lines(octets, words, at, end, starts, ends)
    return starts[:count].copy(), ends[:count].copy()


def _too_many(source: str) -> Reject:
    detail = f"body: found more than {ITEMS_MAX} items; send at most as many"
    return Reject(Reason.TOO_MANY_ITEMS, detail, None, source)


def _placed(wrong: Reject, record: Record) -> Reject:
    """Names where a record stands in its topic: what is not kept in full is fetched there."""
    if record.transport != "kafka":
        return wrong
    return replace(wrong, detail=f"{wrong.detail} (in Kafka: {record.position})")


def _wrong_count(record: Record, items: Spans) -> Reject | None:
    header = record.header
    if items[0].size > ITEMS_MAX:
        return _too_many(header.source if header else "")
    if header is None or header.count == items[0].size:
        return None
    counts = f"{header.count} beside {items[0].size} events"
    detail = f"tl-count: found {counts}; send the whole batch"
    return Reject(Reason.COUNT_MISMATCH, detail, None, header.source)
