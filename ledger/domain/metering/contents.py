"""Lays out what events say, a record of bytes an event, of which their digests are made.

A record is made of words of eight bytes, low byte first: which fields the event has, digests of its
names and of its other texts (two words each; only attempts have names), then its numbers.
Invariant: equal content has equal records, whatever bytes, encoding or transport it came by, and a
record tells where it ends. A field that is not there, or says what its absence says, leaves no
trace, so that one added later changes no record. An end user's id is left out: it could be guessed
from a digest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger.domain.arrays import WORD, Bools, Ints, Octets
from ledger.domain.frames import are_known, filled, numbered, only, rows_at
from ledger.domain.metering.names import DIGEST
from ledger.domain.metering.numbering import combined, first_rows
from ledger.domain.metering.texts import DigestWords, digest_octets, digest_texts, is_constant

COUNTERS = "counters"
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
        return _laid_out(kind, frame, marks, [digest_octets(texts)], [])
    numbers: list[tuple[Bools | None, Ints]] = []
    for bit, name in enumerate(NUMBERS[kind]):
        number = _number(frame[name], ABSENT.get(name))
        if number is not None:
            marks |= np.uint64(1 << bit) if number[0] is None else number[0].astype("<u8") << bit
            numbers.append(number)
    for name, bit in CHOICES[kind].items():
        if frame[name].null_count() < frame.height:
            marks |= _choice(frame[name]) << np.uint64(bit)
    digests = [_texts(kind, frame)]
    if DIGEST[0] in frame.columns:
        digests.insert(0, np.column_stack([frame[name].to_numpy() for name in DIGEST]))
    return _laid_out(kind, frame, marks, digests, numbers)


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
    digests: Sequence[DigestWords],
    numbers: Sequence[tuple[Bools | None, Ints]],
) -> Contents:
    head = 1 + 2 * len(digests)
    laid = np.empty((frame.height, head + len(numbers)), "<u8")
    laid[:, 0] = marks
    for index, digest in enumerate(digests):
        laid[:, 1 + 2 * index : 3 + 2 * index] = digest
    for index, (_, values) in enumerate(numbers, head):
        laid[:, index] = values.view(np.uint64)
    sizes = np.full(frame.height, laid.shape[1])
    words = laid.reshape(-1)
    if any(known is not None and not known.all() for known, _ in numbers):
        there = np.ones(laid.shape, np.bool_)
        for index, (known, _) in enumerate(numbers, head):
            if known is not None:
                there[:, index] = known
        sizes, words = there.sum(axis=1), laid[there]
    return Contents(kind, frame["row"].to_numpy(), words.view(np.uint8), np.cumsum(sizes) * WORD)


def _texts(kind: str, frame: pl.DataFrame) -> DigestWords:
    """The digest of each row's texts beside names; rows with the same texts are found first."""
    known = [name for name in TEXTS[kind] if frame[name].null_count() < frame.height]
    varied = [name for name in known if not is_constant(frame[name])]
    columns = [numbered(only(frame, varied))] if varied else []
    codes, count = combined(columns, frame.height)
    distinct = rows_at(frame, known, first_rows(codes, count)) if known else pl.DataFrame()
    return digest_texts(kind, distinct, TEXTS[kind], count)[codes]


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
