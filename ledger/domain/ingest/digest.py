"""Turns decoded fields into a digest of what an event says.

Invariant: equal content has equal digests, whatever bytes, encoding or transport it came by. Each
field that is known goes in as tag, length and value; unknown fields leave no trace, so that a field
added later changes no digest already stored. An end user's id is left out: it could be guessed from
a digest.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from itertools import groupby
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger.domain.ingest.columns import NAMES
from ledger.domain.ingest.items import Items
from ledger.domain.ingest.key import WHAT, WHO
from ledger.domain.ingest.numbering import first_rows_of
from ledger.domain.ingest.octets import Bools, Ints
from ledger.wire.columnar import event_at, read_columns
from ledger.wire.columnar_write import encode_columnar
from ledger.wire.errors import WireError

VERSION = b"1"
BATCH_VERSION = b"2"
COUNTERS = "counters"
DIGESTS = {"row": pl.Int64, "digest": pl.Binary}
_SLICE_ROWS = 16_384
# Tag of each field that is part of what an event says; a tag is never reused.
USAGE_TAGS = {
    "kind": "k",
    "time": "t",
    "started_at": "ts",
    "first_token_at": "tf",
    "ended_at": "te",
    "customer_ref": "c",
    "project_id": "p",
    "api_key_id": "a",
    "agent_id": "g",
    "agent_run_id": "gr",
    "model": "m",
    "adapter": "ad",
    "service_tier_served": "st",
    "region": "r",
    "engine_instance": "e",
    "requests": "n",
    "main_in": "iu",
    "in_cache_read": "ir",
    "in_cache_write": "iw",
    "in_cache_write_5m": "i5",
    "in_cache_write_1h": "i1",
    "in_tool_use": "it",
    "main_out": "ov",
    "out_reasoning": "og",
    "out_rejected_prediction": "oj",
    "usage_source": "us",
    "complete": "cp",
    "stream": "sm",
    "status": "s",
    "context_tokens": "x",
    "cost_amount": "ca",
    "cost_currency": "cc",
    "revision": "rv",
    "supersedes": "su",
    "supersedes_source": "ss",
}
ENERGY_TAGS = {
    "time": "t",
    "gpu_uuid": "u",
    "epoch": "ep",
    "energy_mj": "mj",
    "power_mw": "mw",
    "method": "me",
    "quality": "q",
    "scope": "sc",
}
# Fields that are the same wherever `names` is.
_NAMED = frozenset({*WHO, *WHAT})
TAGS = {"usage": USAGE_TAGS, "energy": ENERGY_TAGS}


def content_digests(decoded: Mapping[str, pl.DataFrame], rows: pl.Series) -> pl.DataFrame:
    """`row` and `digest` (sixteen bytes) of each of these rows that was decoded."""
    parts = [pl.DataFrame(schema=DIGESTS)]
    for kind, frame in decoded.items():
        if frame.height == 0:
            continue
        wanted = frame if frame["row"].equals(rows) else frame.filter(_among(frame["row"], rows))
        # Texts are several times as large as what they are made of: a few at a time.
        slices = wanted.iter_slices(_SLICE_ROWS)
        found = [_digest(text) for part in slices for text in _texts(part, kind)]
        digests = pl.Series("digest", found, pl.Binary)
        parts.append(wanted.select("row").with_columns(digests))
    return pl.concat(parts)


def _among(rows: pl.Series, wanted: pl.Series) -> pl.Series:
    return pl.Series(np.isin(rows.to_numpy(), wanted.to_numpy()))


def _texts(frame: pl.DataFrame, kind: str) -> Iterable[bytes]:
    if kind == COUNTERS:
        return [counters_text(one).encode() for one in frame.iter_rows(named=True)]
    return canonical(frame, TAGS[kind], kind).cast(pl.Binary).to_list()


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=16, person=VERSION).digest()


def canonical(frame: pl.DataFrame, tags: Mapping[str, str], kind: str) -> pl.Series:
    """One text a row: tag, length and value of each known field, after the kind of event.

    What names an event is written once for all that have the same names, and once for all what is
    the same in all of them.
    """
    known = [name for name in tags if frame[name].null_count() < frame.height]
    parts: list[pl.Expr | pl.Series] = [pl.lit(f"{kind};")]
    for named, fields in groupby(known, key=lambda name: NAMES in frame.columns and name in _NAMED):
        if named:
            parts.append(_of_names(frame, [_part(name, tags[name]) for name in fields]))
        else:
            parts += [_part_of(frame[name], tags[name]) for name in fields]
    return frame.select(pl.concat_str(*parts).alias("canonical")).to_series()


def _of_names(frame: pl.DataFrame, parts: Sequence[pl.Expr]) -> pl.Series:
    names = frame[NAMES].to_numpy()
    leads, codes = first_rows_of(names - names.min())
    texts = frame[leads].select(pl.concat_str(*parts)).to_series()
    return texts[pl.Series(codes.astype(np.uint32))]


def _part_of(series: pl.Series, tag: str) -> pl.Expr:
    if series.dtype.is_integer() and not series.null_count() and series.min() == series.max():
        text = str(series[0])
        return pl.lit(f"{tag}:{len(text)}:{text}")
    return _part(series.name, tag)


def _part(name: str, tag: str) -> pl.Expr:
    text = pl.col(name).cast(pl.String)
    length = text.str.len_bytes().cast(pl.String)
    known = pl.when(text.str.len_bytes() > 0)
    return known.then(pl.concat_str(pl.lit(f"{tag}:"), length, pl.lit(":"), text)).fill_null("")


def batch_digests(decoded: Mapping[str, pl.DataFrame], items: Items) -> dict[int, UUID]:
    """The digest of each record that is a whole batch.

    It is taken column by column: which rows have a field, and the values of those; then of the
    items that are no events, in order.
    """
    batches = [
        n
        for n, record in enumerate(items.records)
        if record.header is not None
        and items.sizes[n] == record.header.count
        # A body that was refused whole is one item, which a batch of one must not be taken for.
        and int(items.firsts[n]) not in items.rejects
    ]
    if not batches:
        return {}
    kinds = [_Columns.of(kind, frame) for kind, frame in decoded.items() if frame.height]
    unread = _unread(decoded, items)
    return {n: _batch_digest(items, n, kinds, unread) for n in batches}


def _unread(decoded: Mapping[str, pl.DataFrame], items: Items) -> Ints:
    read = np.zeros(len(items), np.bool_)
    for frame in decoded.values():
        read[frame["row"].to_numpy()] = True
    return np.flatnonzero(~read)


def _batch_digest(items: Items, record: int, kinds: Sequence["_Columns"], unread: Ints) -> UUID:
    first = int(items.firsts[record])
    until = first + int(items.sizes[record])
    hasher = blake2b(b"%d;" % (until - first), digest_size=16, person=BATCH_VERSION)
    for columns in kinds:
        columns.feed(hasher, first, until)
    for row in unread[np.searchsorted(unread, first) : np.searchsorted(unread, until)].tolist():
        raw = plain_item(items[row])
        hasher.update(b"item;%d;%d;" % (row - first, len(raw)))
        hasher.update(raw)
    return UUID(bytes=hasher.digest())


def plain_item(item: bytes) -> bytes:
    """An item that is no event, the same in every encoding: JSON in one form, else its bytes."""
    try:
        value = json.loads(item)
        value = event_at(read_columns(encode_columnar([value], None)), 0, None)
    except (ValueError, RecursionError, AttributeError, WireError):
        return item
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a kind of event, ready to be hashed a batch at a time."""

    kind: str
    rows: Ints
    columns: Sequence["_Numbers | _Texts"]

    @classmethod
    def of(cls, kind: str, frame: pl.DataFrame) -> "_Columns":
        rows = frame["row"].to_numpy()
        if kind == COUNTERS:
            texts = [counters_text(one).encode() for one in frame.iter_rows(named=True)]
            lengths = pl.Series([len(text) for text in texts])
            return cls(kind, rows, [_Texts.of("", lengths, b"".join(texts))])
        return cls(kind, rows, _read_columns(frame, TAGS[kind]))

    def feed(self, hasher: "blake2b", first: int, until: int) -> None:
        since, to = np.searchsorted(self.rows, first), np.searchsorted(self.rows, until)
        if since == to:
            return
        hasher.update(f"{self.kind};{to - since};".encode())
        hasher.update((self.rows[since:to] - first).astype("<i4").tobytes())
        for column in self.columns:
            column.feed(hasher, int(since), int(to))


def _read_columns(frame: pl.DataFrame, tags: Mapping[str, str]) -> Sequence["_Numbers | _Texts"]:
    """The columns that any row knows, in the order of their tags; texts are read at one go."""
    known = [name for name in tags if frame[name].null_count() < frame.height]
    texts = [name for name in known if frame.schema[name] == pl.String]
    lengths = frame.select(pl.col(texts).str.len_bytes())
    joined = frame.select(pl.col(texts).str.join("").cast(pl.Binary))
    return [
        _Texts.of(tags[name], lengths[name], joined[name].item())
        if name in lengths.columns
        else _Numbers.of(tags[name], frame[name])
        for name in known
    ]


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Whole numbers, and which rows have one; None is all."""

    tag: str
    known: Bools | None
    values: Ints

    @classmethod
    def of(cls, tag: str, series: pl.Series) -> "_Numbers":
        whole = series.cast(pl.Int64)
        if not series.null_count():
            return cls(tag, None, whole.to_numpy())
        return cls(tag, series.is_not_null().to_numpy(), whole.fill_null(0).to_numpy())

    def feed(self, hasher: "blake2b", since: int, to: int) -> None:
        values = self.values[since:to]
        if self.known is None:
            hasher.update(f"{self.tag};{to - since};".encode())
            hasher.update(np.ascontiguousarray(values, "<i8").data)
            return
        known = self.known[since:to]
        if _feed_known(hasher, self.tag, known):
            hasher.update(np.ascontiguousarray(values[known], "<i8").data)


@dataclass(frozen=True, slots=True)
class _Texts:
    """Texts laid one after the other; an empty one is as good as none; `known` None is all."""

    tag: str
    known: Bools | None
    lengths: NDArray[np.int32]
    ends: Ints
    octets: bytes

    @classmethod
    def of(cls, tag: str, lengths: pl.Series, octets: bytes) -> "_Texts":
        sizes = lengths.fill_null(0).to_numpy().astype("<i4")
        known = sizes > 0
        ends = np.cumsum(sizes, dtype=np.int64)
        return cls(tag, None if known.all() else known, sizes, ends, octets)

    def feed(self, hasher: "blake2b", since: int, to: int) -> None:
        lengths = self.lengths[since:to]
        if self.known is None:
            hasher.update(f"{self.tag};{to - since};".encode())
        else:
            known = self.known[since:to]
            if not _feed_known(hasher, self.tag, known):
                return
            lengths = lengths[known]
        begin = int(self.ends[since - 1]) if since else 0
        hasher.update(lengths.data)
        hasher.update(memoryview(self.octets)[begin : int(self.ends[to - 1])])


def _feed_known(hasher: "blake2b", tag: str, known: Bools) -> bool:
    """The field and which rows have it; False, and nothing fed, where none has."""
    count = int(known.sum())
    if count == 0:
        return False
    hasher.update(f"{tag};{count};".encode())
    if count < known.size:
        hasher.update(np.packbits(known, bitorder="little").data)
    return True


def counters_text(scrape: dict[str, Any]) -> str:
    """The canonical text of a scrape: its values sorted by name and labels, numbers normalised."""
    names = ("time", "engine", "instance", "run_id", "run_started_at")
    parts = [str(scrape[name]) for name in names if scrape[name] is not None]
    values = sorted(
        (name, sorted(labels.items()), f"{Decimal(value).normalize():f}", lost)
        for name, value, labels, lost in scrape["values"]
    )
    flat = [*parts, *(str(part) for value in values for part in value)]
    return "counters;" + "".join(f"{len(part.encode())}:{part}" for part in flat)
