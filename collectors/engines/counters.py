"""What the engines share: samples to canonical counters by a table, and the run they count in."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from collectors.exposition import Exposition, Sample
from collectors.reading import CounterReading
from ledger.wire.limits import LABELS_MAX, TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX
from ledger.wire.units import BLANK_VALUE_MIN

EXACT_INTEGER_MAX = 2**53
# Longer than a ledger reads of a decimal is no count.
VALUE_CHARS_MAX = 64
# C prints so many digits of a number unless told otherwise, and so do relays written in it.
PRINTED_DIGITS = 6
SHOWN_CHARS_MAX = 200
PROCESS_START = "process_start_time_seconds"
CREATED = "_created"
_PARTS = ("_bucket", "_count", "_sum", CREATED)
_PLAIN_SECONDS = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)
_NONE: Mapping[str, str] = MappingProxyType({})
Counters = tuple[CounterReading, ...]


@dataclass(frozen=True, slots=True)
class RunMarks:
    """When the counters were made and the process started, in seconds; None if unsaid."""

    created: str | None
    process_started: str | None

    def or_started(self, seconds: str | None) -> "RunMarks":
        """With the process's start as told beside the page, where the page says nothing of it."""
        said = _seconds(seconds) if seconds and _PLAIN_SECONDS.fullmatch(seconds) else None
        return RunMarks(self.created, self.process_started or said)

    def run_id(self, instance: str) -> str:
        """The run's identity: it changes when any mark does."""
        return f"{instance}@{self.created or '-'}+{self.process_started or '-'}"

    def started_at(self) -> datetime | None:
        """The latest of the starts known: a process that outlives its counters starts too early."""
        known = [mark for mark in (self.created, self.process_started) if mark is not None]
        return _instant(max(known, key=Decimal)) if known else None


@dataclass(frozen=True, slots=True)
class EngineReading:
    """The canonical counters of one scrape, summed over no label, and the marks of their run.

    `left_out` names the series that could not be taken as they are, each with its reason, and
    `contradicted` says that one of them was given twice, with two values;
    `unknown` the families that count tokens and that the name map does not know; `version` is the
    newest version of the server whose names were seen, None where none was.
    """

    counters: Counters
    marks: RunMarks
    left_out: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    version: str | None = None
    contradicted: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """How one raw family becomes a canonical counter.

    `where` keeps only series with these labels and drops them; `rename` gives labels our names;
    `label` adds what the family's own name says.
    """

    name: str
    where: Mapping[str, str] = field(default_factory=lambda: _NONE)
    rename: Mapping[str, str] = field(default_factory=lambda: _NONE)
    label: Mapping[str, str] = field(default_factory=lambda: _NONE)


def _as_they_are(counters: Counters) -> Counters:
    return counters


@dataclass(frozen=True, slots=True)
class EngineMap:
    """One inference server: where it answers, and which of its families are which counters.

    `anchor` is the family whose `_created` marks the run: others may be made later, on first use.
    `versions` tells versions apart by a family only they print, newest first, as known `as_of`;
    `aside` are families that count tokens and are not read, because another one counts the same.
    """

    name: str
    path: str
    prefixes: tuple[str, ...]
    rules: Mapping[str, tuple[Rule, ...]]
    anchor: str
    as_of: str
    versions: Mapping[str, str]
    aside: frozenset[str] = frozenset()
    six_digits: bool = False
    settle: Callable[[Counters], Counters] = _as_they_are

    def read(self, exposition: Exposition) -> EngineReading:
        """The counters of one scrape; what the server does not print is absent, never zero."""
        series, families = _Series(), _Families(self)
        for sample in exposition.samples:
            base = families.base_of(sample.name)
            for rule in self.rules.get(base or "", ()):
                reading = read_sample(sample, rule, six_digits=self.six_digits)
                if reading is not None:
                    series.add(reading, countable=_countable(sample.value))
        return EngineReading(
            counters=self.settle(tuple(series.counters.values())),
            marks=run_marks(exposition.samples, prefixes=self.prefixes, anchor=self.anchor),
            left_out=tuple(sorted(series.left_out)),
            unknown=tuple(sorted(families.unknown)),
            version=families.version(),
            contradicted=bool(series.twice),
        )


class _Families:
    """Families by the names they are printed under, each looked at once."""

    def __init__(self, engine: EngineMap) -> None:
        self._engine = engine
        self._bases: dict[str, str | None] = {}
        self.unknown: set[str] = set()

    def base_of(self, name: str) -> str | None:
        """The family's name in the map's words, None where it is another's."""
        try:
            return self._bases[name]
        except KeyError:
            base = self._bases[name] = base_name(name, self._engine.prefixes)
            if base is not None and self._is_unknown(base):
                self.unknown.add(name)
            return base

    def version(self) -> str | None:
        seen = {_family(base) for base in self._bases.values() if base is not None}
        return next((said for mark, said in self._engine.versions.items() if mark in seen), None)

    def _is_unknown(self, base: str) -> bool:
        family, rules = _family(base), self._engine.rules
        known = base in rules or family in rules or family in self._engine.aside
        # Of a histogram the sum alone counts what it is called after.
        is_sample = not base.endswith(("_bucket", "_count", CREATED))
        return is_sample and not known and "tokens" in family and f"{family}_sum" not in rules


@dataclass(slots=True)
class _Series:
    """Counters by name and labels; what a ledger would refuse costs its own series only."""

    counters: dict[tuple[str, tuple[tuple[str, str], ...]], CounterReading] = field(
        default_factory=dict
    )
    left_out: set[str] = field(default_factory=set)
    twice: set[tuple[str, tuple[tuple[str, str], ...]]] = field(default_factory=set)

    def add(self, reading: CounterReading, *, countable: bool) -> None:
        labels = tuple(sorted(reading.labels.items()))
        key, value = (reading.name, labels), reading.value[:VALUE_CHARS_MAX]
        why = _unfit(labels) if countable else f"{value} is no count"
        known = self.counters.get(key)
        if why is None and known is not None and Decimal(known.value) != Decimal(value):
            # Nobody can say which of the two counts; the next scrape may have one.
            del self.counters[key]
            self.twice.add(key)
            why = f"given twice, as {known.value} and {value}"
        if why is not None:
            self.left_out.add(f"{reading.raw_name[:SHOWN_CHARS_MAX]}{{{_shown(labels)}}}: {why}")
        elif key not in self.twice:
            self.counters.setdefault(key, reading)


def _unfit(labels: tuple[tuple[str, str], ...]) -> str | None:
    if len(labels) > LABELS_MAX:
        return f"{len(labels)} labels, more than {LABELS_MAX}"
    for key, value in labels:
        if len(key) > TAG_KEY_CHARS_MAX or len(value) > TAG_VALUE_CHARS_MAX or not key:
            return f"label {key[:TAG_KEY_CHARS_MAX]!r} is over-long"
        if "\0" in key or "\0" in value:
            return f"label {key!r} has a NUL"
    return None


def _shown(labels: tuple[tuple[str, str], ...]) -> str:
    return ",".join(f'{key}="{value}"' for key, value in labels)[:SHOWN_CHARS_MAX]


def base_name(raw_name: str, prefixes: tuple[str, ...]) -> str | None:
    """The family without the server's prefix and without `_total`, however often it was added."""
    for prefix in prefixes:
        if raw_name.startswith(prefix):
            base = raw_name[len(prefix) :]
            while base.endswith("_total"):
                base = base[: -len("_total")]
            return base
    return None


def _family(base: str) -> str:
    """The family a sample belongs to: without what is added to the parts of a histogram."""
    part = next((part for part in _PARTS if base.endswith(part)), "")
    family = base[: len(base) - len(part)]
    return family.removesuffix("_total")


def run_marks(samples: Iterable[Sample], *, prefixes: tuple[str, ...], anchor: str) -> RunMarks:
    """The earliest creation of the anchor family, and the process start.

    A page of several processes says which of them started when, and not which of them a counter
    is of: a run that began with the newest would have the others' counters begin again.
    """
    created: list[str] = []
    started: set[str | None] = set()
    for sample in samples:
        if sample.name == PROCESS_START:
            started.add(_seconds(sample.value))
        elif sample.name.endswith(CREATED):
            seconds = _seconds(sample.value)
            if seconds and base_name(sample.name, prefixes) == anchor + CREATED:
                created.append(seconds)
    # A second series of the same process may be made later; the earliest one stays.
    started.discard(None)
    return RunMarks(
        min(created, key=Decimal, default=None), started.pop() if len(started) == 1 else None
    )


def read_sample(sample: Sample, rule: Rule, *, six_digits: bool) -> CounterReading | None:
    """One series as the rule's counter; None where the rule is for other labels."""
    if any(sample.labels.get(key) != wanted for key, wanted in rule.where.items()):
        return None
    labels = {
        rule.rename.get(key, key): value
        for key, value in sample.labels.items()
        if key not in rule.where
    }
    return CounterReading(
        name=rule.name,
        value=sample.value,
        raw_name=sample.name,
        labels={**labels, **rule.label},
        precision_loss=inexact(sample.value, six_digits=six_digits),
    )


def _countable(text: str) -> bool:
    """Whether a counter can have this value: NaN, infinity and less than nothing are no counts."""
    if text[-1:] not in "0123456789." or len(text) > VALUE_CHARS_MAX:
        return False
    value = Decimal(text)
    # An exponent that no count has is refused by the ledger, of a zero too.
    return 0 <= value < BLANK_VALUE_MIN and abs(value.adjusted()) <= VALUE_CHARS_MAX


def inexact(text: str, *, six_digits: bool) -> bool:
    """Whether a double, or a printer of six digits, may have rounded the count."""
    if not _countable(text):
        return False
    digits, exponent, _ = text.lower().partition("e")
    rounded = bool(exponent) and (six_digits or _loses_units(digits, Decimal(text)))
    return rounded or Decimal(text) > EXACT_INTEGER_MAX


def _loses_units(digits: str, value: Decimal) -> bool:
    """Whether a count is given by six digits, as some printers do, so that its last are unsaid."""
    said = len(digits.replace(".", "").strip("+0"))
    return said == PRINTED_DIGITS and value.adjusted() >= PRINTED_DIGITS


def _seconds(text: str) -> str | None:
    """Seconds in plain notation, so that 1.786e+09 and 1786000000 mark the same run."""
    if text[-1:] not in "0123456789.":
        return None
    seconds = Decimal(text)
    return format(seconds.normalize(), "f") if 0 < seconds.adjusted() < 12 else None


def _instant(seconds: str) -> datetime | None:
    microseconds = int(Decimal(seconds).scaleb(6))
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    except OverflowError:
        return None
