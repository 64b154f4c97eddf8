"""What the engines share: samples to canonical counters by a table, and the run they count in."""

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
# C prints so many digits of a number unless told otherwise, and so do relays written in it.
PRINTED_DIGITS = 6
SHOWN_CHARS_MAX = 200
PROCESS_START = "process_start_time_seconds"
_NO_RENAMES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RunMarks:
    """When the counters were made and the process started, in seconds; None if unsaid."""

    created: str | None
    process_started: str | None

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

    `left_out` names the series that could not be taken as they are, each with its reason.
    """

    counters: tuple[CounterReading, ...]
    marks: RunMarks
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """How one raw family becomes a canonical counter.

    `where` keeps only series with these labels and drops them; `rename` gives labels our names.
    """

    name: str
    where: Mapping[str, str] = field(default_factory=lambda: _NO_RENAMES)
    rename: Mapping[str, str] = field(default_factory=lambda: _NO_RENAMES)


@dataclass(frozen=True, slots=True)
class EngineMap:
    """One inference server: where it answers and how its samples are read."""

    name: str
    path: str
    read: Callable[[Exposition], EngineReading]


def read_counters(
    exposition: Exposition,
    *,
    prefixes: tuple[str, ...],
    rules: Mapping[str, tuple[Rule, ...]],
    anchor: str,
    six_digits: bool = False,
) -> EngineReading:
    """Pick the counters that `rules` name; what the server does not print is absent, never zero.

    `anchor` is the family whose `_created` marks the run: others may be made later, on first use.
    """
    series = _Series()
    for sample in exposition.samples:
        base = base_name(sample.name, prefixes)
        for rule in rules.get(base or "", ()):
            reading = _reading(sample, rule, six_digits=six_digits)
            if reading is not None:
                series.add(reading, countable=_countable(sample.value))
    marks = run_marks(exposition.samples, prefixes=prefixes, anchor=anchor)
    return EngineReading(tuple(series.counters.values()), marks, tuple(sorted(series.left_out)))


@dataclass(slots=True)
class _Series:
    """Counters by name and labels; what a ledger would refuse costs its own series only."""

    counters: dict[tuple[str, tuple[tuple[str, str], ...]], CounterReading] = field(
        default_factory=dict
    )
    left_out: set[str] = field(default_factory=set)

    def add(self, reading: CounterReading, *, countable: bool) -> None:
        labels = tuple(sorted(reading.labels.items()))
        why = _unfit(labels) if countable else f"{reading.value} is no count"
        known = self.counters.get((reading.name, labels))
        if why is None and known is not None and Decimal(known.value) != Decimal(reading.value):
            # Nobody can say which of the two counts; the next scrape may have one.
            del self.counters[reading.name, labels]
            why = f"given twice, as {known.value} and {reading.value}"
        said = f"{reading.raw_name}{{{_shown(labels)}}}"
        if why is None and not any(one.startswith(f"{said}: ") for one in self.left_out):
            self.counters.setdefault((reading.name, labels), reading)
        elif why is not None:
            self.left_out.add(f"{said}: {why}")


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


def run_marks(samples: Iterable[Sample], *, prefixes: tuple[str, ...], anchor: str) -> RunMarks:
    """The earliest creation of the anchor family, and the process start."""
    created: list[str] = []
    started: str | None = None
    for sample in samples:
        seconds = _seconds(sample.value)
        if seconds is None:
            continue
        if sample.name == PROCESS_START:
            started = seconds
        elif base_name(sample.name, prefixes) == f"{anchor}_created":
            created.append(seconds)
    # A second series of the same process may be made later; the earliest one stays.
    return RunMarks(min(created, key=Decimal, default=None), started)


def _reading(sample: Sample, rule: Rule, *, six_digits: bool) -> CounterReading | None:
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
        labels=labels,
        precision_loss=_inexact(sample.value, six_digits=six_digits),
    )


def _countable(text: str) -> bool:
    """Whether a counter can have this value: NaN, infinity and less than nothing are no counts."""
    return text[-1:] in "0123456789." and 0 <= Decimal(text) < BLANK_VALUE_MIN


def _inexact(text: str, *, six_digits: bool) -> bool:
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
