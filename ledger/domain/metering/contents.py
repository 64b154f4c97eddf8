"""Lays out what events say, as columns of words of which their digests are made.

Words are eight bytes, low byte first: which fields the event has, digests of its names and of its
other texts (two words each; only attempts have names), then its numbers. An event's record has its
words one after the other, a batch those of each column.
Invariant: equal content has equal words, whatever bytes, encoding or transport it came by, and they
tell where they end. A field that is not there, or says what its absence says, leaves no
trace, so that one added later changes no record. An end user's id is left out: it could be guessed
from a digest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger.domain.arrays import WORD, Bools, Ints
from ledger.domain.frames import are_known, filled, only, rows_at
from ledger.domain.metering.names import DIGEST
from ledger.domain.metering.numbering import combined, first_rows, numbered
from ledger.domain.metering.texts import digest_octets, digest_texts, is_constant

COUNTERS = "counters"
# What stands before the words of a column in a batch: one for all, or one each.
_SHARED, _EACH = memoryview(b"1"), memoryview(b"n")
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
# Tag of each text beside names that is part of what an event says; a tag is never reused.
TEXTS: Mapping[str, Mapping[str, str]] = {
    "usage": {
        "agent_run_id": "gr",
        "agent_parent_id": "gp",
        "agent_parent_run_id": "gq",
        "usage_source": "us",
        "cost_amount": "ca",
        "cost_currency": "cc",
        "supersedes": "su",
        "supersedes_source": "ss",
        "reservation_id": "rv",
        "retry_of": "ro",
        "fallback_from": "ff",
        "extras": "x",
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


@dataclass(frozen=True, slots=True)
class Contents:
    """What events of one kind say, column by column: which rows have a word, None for all, and the
    words."""

    kind: str
    rows: Ints
    columns: Sequence[tuple[Bools | None, NDArray[np.uint64]]]

    def of_rows(self, first: int, until: int) -> tuple[Ints, Iterator[memoryview]]:
        """The rows from `first` to before `until`, and the words of each column: those that some
        have, and one where all say the same."""
        since, to = np.searchsorted(self.rows, (first, until)).tolist()
        return self.rows[since:to], self._said(slice(since, to))

    def _said(self, some: slice) -> Iterator[memoryview]:
        for known, words in self.columns:
            said = words[some] if known is None else words[some][known[some]]
            if said.size:
                is_shared = bool((said == said[0]).all())
                yield _SHARED if is_shared else _EACH
                yield said[:1].data if is_shared else said.data

    def each(self) -> Iterator[memoryview]:
        """The record of each event."""
        laid = np.empty((self.rows.size, len(self.columns)), "<u8")
        there = np.ones(laid.shape, np.bool_)
        for index, (known, words) in enumerate(self.columns):
            laid[:, index] = words
            if known is not None:
                there[:, index] = known
        octets, begin = laid[there].view(np.uint8).data, 0
        for end in (np.cumsum(there.sum(axis=1)) * WORD).tolist():
            yield octets[begin:end]
            begin = end


def contents(kind: str, frame: pl.DataFrame) -> Contents:
    """What the events of a frame say; columns are those of `prepare`'s frames of this kind."""
    marks = np.zeros(frame.height, np.uint64)
    if kind == COUNTERS:
        texts = [counters_text(row).encode() for row in frame.iter_rows(named=True)]
        return _of(frame, kind, marks, [*digest_octets(texts).T], [])
    numbers: list[tuple[Bools | None, Ints]] = []
    for bit, name in enumerate(NUMBERS[kind]):
        number = _number(frame[name], ABSENT.get(name))
        if number is not None:
            marks |= np.uint64(1 << bit) if number[0] is None else number[0].astype("<u8") << bit
            numbers.append(number)
    for name, bit in CHOICES[kind].items():
        if frame[name].null_count() < frame.height:
            marks |= _choice(frame[name]) << np.uint64(bit)
    names = [frame[name].to_numpy() for name in DIGEST if name in frame.columns]
    return _of(frame, kind, marks, [*names, *_texts(kind, frame)], numbers)


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


def _of(
    frame: pl.DataFrame,
    kind: str,
    marks: NDArray[np.uint64],
    digests: Sequence[NDArray[np.uint64]],
    numbers: Sequence[tuple[Bools | None, Ints]],
) -> Contents:
    columns = [*((None, words) for words in (marks, *digests)), *numbers]
    said = [(known, np.ascontiguousarray(words).view("<u8")) for known, words in columns]
    return Contents(kind, frame["row"].to_numpy(), said)


def _texts(kind: str, frame: pl.DataFrame) -> list[NDArray[np.uint64]]:
    """Both words of the digest of each row's texts beside names; rows with the same texts are found
    first."""
    known = [name for name in TEXTS[kind] if frame[name].null_count() < frame.height]
    varied = [name for name in known if not is_constant(frame[name])]
    columns = [numbered(only(frame, varied))] if varied else []
    codes, count = combined(columns, frame.height)
    distinct = rows_at(frame, known, first_rows(codes, count)) if known else pl.DataFrame()
    return [words[codes] for words in digest_texts(kind, distinct, TEXTS[kind], count).T]


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
