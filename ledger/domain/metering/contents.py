"""Lays out what events say, a record of bytes an event, of which their digests are made.

A record is made of words of eight bytes, low byte first: which fields the event has, a digest of
its texts (two words), then its numbers. Invariant: equal content has equal records, whatever bytes,
encoding or transport it came by, and a record tells where it ends. A field that is not there, or
says what its absence says, leaves no trace, so that one added later changes no record. An end
user's id is left out: it could be guessed from a digest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger.domain.arrays import WORD, Bools, Ints, Octets
from ledger.domain.frames import MANY_ROWS, are_known, filled, numbered, only, rows_at
from ledger.domain.metering.columns import NAMES
from ledger.domain.metering.key import WHAT, WHO
from ledger.domain.metering.numbering import combined, first_rows

COUNTERS = "counters"
TEXT_DIGEST = b"text1"
_BEGUN = blake2b(digest_size=16, person=TEXT_DIGEST)
# A field's bit is its place: what is new goes behind the last, and nothing is taken out.
NUMBERS: Mapping[str, Sequence[str]] = {
    "usage": (
        *("time", "started_at", "first_token_at", "ended_at", "requests"),
        *("main_in", "in_cache_read", "in_cache_write", "in_cache_write_5m", "in_cache_write_1h"),
        *("in_tool_use", "main_out", "out_reasoning", "out_rejected_prediction"),
        *("context_tokens", "revision", "queue_ms", "agent_step", "attempt"),
    ),
    "energy": ("time", "energy_mj", "power_mw", "monotonic_us"),
    "gaps": ("time", "since"),
}
# Fields of few values stand beside those bits, each from a bit of its own on, so that they take no
# word; a yes is 2, a no 1 and nothing 0.
CHOICES: Mapping[str, Mapping[str, int]] = {
    "usage": {"complete": 62, "stream": 60, "status": 52, "kind": 48, "hedged": 46},
    "energy": {},
    "gaps": {},
}
# What the absence of a number says.
ABSENT: Mapping[str, int] = {"requests": 1, "revision": 0, "attempt": 1}
# Tag of each text that is part of what an event says; a tag is never reused.
TEXTS: Mapping[str, Mapping[str, str]] = {
    "usage": {
        "customer_ref": "c",
        "project_id": "p",
        "api_key_id": "a",
        "agent_id": "g",
        "agent_run_id": "gr",
        "agent_parent_id": "gp",
        "agent_parent_run_id": "gq",
        "model": "m",
        "adapter": "ad",
        "service_tier_served": "st",
        "region": "r",
        "engine_instance": "e",
        "usage_source": "us",
        "cost_amount": "ca",
        "cost_currency": "cc",
        "supersedes": "su",
        "supersedes_source": "ss",
        "reservation_id": "rv",
        "retry_of": "ro",
        "fallback_from": "ff",
    },
    "energy": {
        "gpu_uuid": "u",
        "epoch": "ep",
        "method": "me",
        "quality": "q",
        "scope": "sc",
        "boot_id": "bo",
        "driver_load": "dl",
    },
    "gaps": {"gpu_uuid": "u", "reason": "re", "detail": "de"},
}
# Texts that are the same wherever `names` is.
_NAMED = frozenset({*WHO, *WHAT})
_HEAD = 3


@dataclass(frozen=True, slots=True)
class Contents:
    """The records of events of one kind, one after the other; `ends` is where each ends."""

    kind: str
    rows: Ints
    octets: Octets
    ends: Ints

    def of_rows(self, first: int, until: int) -> tuple[Ints, memoryview]:
        """The rows from `first` to before `until`, and their records."""
        since, to = np.searchsorted(self.rows, (first, until)).tolist()
        begin = int(self.ends[since - 1]) if since else 0
        end = int(self.ends[to - 1]) if to else 0
        return self.rows[since:to], self.octets.data[begin:end]

    def each(self) -> Iterable[memoryview]:
        """The records one by one."""
        octets, begin = self.octets.data, 0
        for end in self.ends.tolist():
            yield octets[begin:end]
            begin = end


def contents(kind: str, frame: pl.DataFrame) -> Contents:
    """What the events of a frame say; columns are those of `prepare`'s frames of this kind."""
    marks = np.zeros(frame.height, np.uint64)
    if kind == COUNTERS:
        texts = [counters_text(row).encode() for row in frame.iter_rows(named=True)]
        return _laid_out(kind, frame, marks, _words(texts), [])
    numbers: list[tuple[Bools | None, Ints]] = []
    for bit, name in enumerate(NUMBERS[kind]):
        number = _number(frame[name], ABSENT.get(name))
        if number is not None:
            marks |= np.uint64(1 << bit) if number[0] is None else number[0].astype("<u8") << bit
            numbers.append(number)
    for name, bit in CHOICES[kind].items():
        if frame[name].null_count() < frame.height:
            marks |= _choice(frame[name]) << np.uint64(bit)
    return _laid_out(kind, frame, marks, _texts(kind, frame), numbers)


def _number(series: pl.Series, absent: int | None) -> tuple[Bools | None, Ints] | None:
    """Which rows have a number, None for all, and the numbers; None where no row has one."""
    if series.null_count() == len(series):
        return None
    known, values = are_known(series), filled(series, absent or 0)
    if absent is not None:
        known = values != absent
    return None if known is not None and not known.any() else (known, values)


def _choice(series: pl.Series) -> NDArray[np.uint64]:
    if series.dtype == pl.Boolean:
        series = series.cast(pl.Int8) + 1
    return filled(series, 0).astype(np.uint64)


def _laid_out(
    kind: str,
    frame: pl.DataFrame,
    marks: NDArray[np.uint64],
    digests: NDArray[np.uint64],
    numbers: Sequence[tuple[Bools | None, Ints]],
) -> Contents:
    laid = np.empty((frame.height, _HEAD + len(numbers)), "<u8")
    laid[:, 0], laid[:, 1:_HEAD] = marks, digests
    for index, (_, values) in enumerate(numbers, _HEAD):
        laid[:, index] = values.view(np.uint64)
    sizes = np.full(frame.height, laid.shape[1])
    words = laid.reshape(-1)
    if any(known is not None and not known.all() for known, _ in numbers):
        there = np.ones(laid.shape, np.bool_)
        for index, (known, _) in enumerate(numbers, _HEAD):
            if known is not None:
                there[:, index] = known
        sizes, words = there.sum(axis=1), laid[there]
    return Contents(kind, frame["row"].to_numpy(), words.view(np.uint8), np.cumsum(sizes) * WORD)


def _texts(kind: str, frame: pl.DataFrame) -> NDArray[np.uint64]:
    """The digest of each row's texts; rows with the same texts are found first."""
    known = [name for name in TEXTS[kind] if frame[name].null_count() < frame.height]
    named = NAMES in frame.columns
    varied = [n for n in known if not (named and n in _NAMED) and not _is_constant(frame[n])]
    columns = [numbered(only(frame, varied))] if varied else []
    if named:
        numbers = frame[NAMES].to_numpy()
        numbers = numbers - numbers.min()
        columns.append((numbers, int(numbers.max()) + 1))
    codes, count = combined(columns, frame.height)
    distinct = rows_at(frame, known, first_rows(codes, count)) if known else pl.DataFrame()
    return _words(_joined(kind, distinct, count))[codes]


def _joined(kind: str, texts: pl.DataFrame, rows: int) -> list[bytes]:
    """What each row says in its texts: tag, length and value of each that is not empty."""
    tags = [TEXTS[kind][name] for name in texts.columns]
    if rows < MANY_ROWS:
        said = texts.rows() if tags else [()] * rows
        return [(kind + "".join(map(_said, tags, row))).encode() for row in said]
    parts = [part for text, tag in zip(texts, tags, strict=True) for part in _saying(text, tag)]
    joined = texts.select(pl.concat_str(pl.lit(kind), *parts)).to_series()
    return joined.cast(pl.Binary).to_list()


def _said(tag: str, text: str | None) -> str:
    return f";{tag}:{len(text.encode())}:{text}" if text else ""


def _saying(texts: pl.Series, tag: str) -> list[pl.Expr]:
    """`_said` of a column, in pieces."""
    text = pl.col(texts.name)
    said = [pl.lit(f";{tag}:"), text.str.len_bytes(), pl.lit(":"), text]
    if not texts.null_count() and (texts != "").all():
        return said
    return [pl.when(text != "").then(pl.concat_str(said)).otherwise(pl.lit(""))]


def _is_constant(series: pl.Series) -> bool:
    return not series.null_count() and bool((series == series[0]).all())


def _words(texts: Sequence[bytes]) -> NDArray[np.uint64]:
    """The digests of texts, two words each."""
    # A copy costs less than naming size and person again, and a call as much as either.
    begin, digests = _BEGUN.copy, []
    for text in texts:
        hasher = begin()
        hasher.update(text)
        digests.append(hasher.digest())
    return np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)


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
