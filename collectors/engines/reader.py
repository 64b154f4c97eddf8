"""One server's expositions read scrape after scrape: wholly at times, else only the lines wanted.

A page has hundreds of lines and a dozen counters. What a line's series means is learnt when a page
is read whole; while the same series come, their values alone are read. A series that is new, gone,
printed twice or no plain count has the page read whole again, so that both ways say the same.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from collectors.engines.counters import (
    CREATED,
    PROCESS_START,
    Counters,
    EngineMap,
    EngineReading,
    RunMarks,
    base_name,
    inexact,
    read_sample,
    run_marks,
)
from collectors.exposition import Exposition, Sample, parse_exposition, parse_sample
from collectors.reading import CounterReading

# Lines that nobody wants are looked at once in so many scrapes, to name those that cannot be read.
WHOLE_EVERY = 600
# The same while something is wrong with the page: it may be mended.
TROUBLED_EVERY = 30
PLAIN_CHARS = 15
# The form in which nearly all servers print a line.
_PLAIN = re.compile(r"([^\s{]+(?:\{.*\})? +)(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class PageReading:
    """What one page says, and what could not be read of it the last time it was read whole."""

    engine: EngineReading
    samples: int
    bad_count: int
    troubles: frozenset[str]


@dataclass(slots=True)
class _Series:
    """A series as printed: where its counters stand in the page's order, and what they were.

    `learnt` is its value when the page was read whole.
    """

    indexes: tuple[int, ...]
    readings: Counters
    value: str
    mark: str | None
    learnt: str


@dataclass(frozen=True, slots=True)
class _Known:
    """A page as it was read whole, and what each series found in it means."""

    page: PageReading
    series: Mapping[str, _Series]


class PageReader:
    """Reads the pages of one server."""

    def __init__(self, engine: EngineMap) -> None:
        self._engine = engine
        self._lines = _wanted_lines(engine)
        self._known: _Known | None = None
        self.passing = 0

    def read(self, text: str) -> PageReading:
        """What a page says; the same as if it had been read whole."""
        samples = self._found(text)
        page = self._quick(samples) if samples is not None else None
        if page is not None:
            self.passing += 1
            return page
        self.passing = 0
        page = self._whole(text)
        self._known = self._learn(page, samples) if samples is not None else None
        return page

    def _found(self, text: str) -> list[tuple[str, str]] | None:
        """Series and value of each line wanted; None where one has another form than nearly all."""
        # One more line end, so that the first line begins like every other.
        plain = [_PLAIN.fullmatch(line) for line in self._lines.findall("\n" + text)]
        known = [(line[1], line[2]) for line in plain if line is not None]
        return known if len(known) == len(plain) else None

    def _quick(self, samples: list[tuple[str, str]]) -> PageReading | None:
        known, values = self._known, dict(samples)
        if known is None or len(values) != len(samples) or values.keys() != known.series.keys():
            return None
        if self.passing >= (WHOLE_EVERY if not known.page.troubles else TROUBLED_EVERY):
            return None
        counters: list[CounterReading | None] = [None] * len(known.page.engine.counters)
        marks = []
        same_run = True
        for series, value in samples:
            known_series = known.series[series]
            for index, reading in zip(
                known_series.indexes, self._readings(known_series, value), strict=True
            ):
                before = counters[index]
                if before is not None and before.value != reading.value:
                    return None
                counters[index] = before or reading
            if known_series.mark is not None:
                same_run = same_run and value == known_series.learnt
                marks.append(Sample(known_series.mark, value))
        engine = replace(
            known.page.engine,
            counters=tuple(known_series for known_series in counters if known_series is not None),
            marks=known.page.engine.marks if same_run else self._marks(marks),
        )
        return replace(known.page, engine=engine)

    def _marks(self, marks: Sequence[Sample]) -> RunMarks:
        return run_marks(marks, prefixes=self._engine.prefixes, anchor=self._engine.anchor)

    def _readings(self, series: _Series, value: str) -> Counters:
        if series.value != value:
            # A double holds every number of so few digits, and such a text is no rounded one.
            plain = len(value) <= PLAIN_CHARS and "e" not in value.lower()
            lossy = not plain and inexact(value, six_digits=self._engine.six_digits)
            series.value = value
            series.readings = tuple(
                CounterReading(
                    name=reading.name,
                    value=value,
                    raw_name=reading.raw_name,
                    labels=reading.labels,
                    precision_loss=lossy,
                )
                for reading in series.readings
            )
        return series.readings

    def _whole(self, text: str) -> PageReading:
        exposition = parse_exposition(text)
        engine = self._engine.read(exposition)
        return PageReading(
            engine=engine,
            samples=len(exposition.samples),
            bad_count=exposition.bad_count,
            troubles=_troubles(self._engine, exposition, engine),
        )

    def _learn(self, page: PageReading, samples: list[tuple[str, str]]) -> _Known | None:
        """What each series found means; None where a counter came by another way than these."""
        indexes = {_key(counter): index for index, counter in enumerate(page.engine.counters)}
        series: dict[str, _Series] = {}
        for printed, value in samples:
            sample = parse_sample(printed + value)
            read = () if sample is None else self._counters_of(sample)
            kept = tuple(each for each in read if _key(each) in indexes)
            marks = sample is not None and sample.name.endswith((CREATED, PROCESS_START))
            series[printed] = _Series(
                indexes=tuple(indexes[_key(each)] for each in kept),
                readings=kept,
                value=value,
                mark=sample.name if sample is not None and marks else None,
                learnt=value,
            )
        learnt = {index for each in series.values() for index in each.indexes}
        all_of_them = len(series) == len(samples) and len(learnt) == len(indexes)
        # Which of two values counts can be plain on the next page.
        certain = all_of_them and not page.engine.contradicted
        return _Known(page, series) if certain else None

    def _counters_of(self, sample: Sample) -> Counters:
        base = base_name(sample.name, self._engine.prefixes)
        read = (
            read_sample(sample, rule, six_digits=self._engine.six_digits)
            for rule in self._engine.rules.get(base or "", ())
        )
        return tuple(counter for counter in read if counter is not None)


def _wanted_lines(engine: EngineMap) -> re.Pattern[str]:
    """Lines of the families wanted, and those that name theirs in braces."""
    prefixes = "|".join(map(re.escape, engine.prefixes))
    families = "|".join(sorted(map(re.escape, (*engine.rules, f"{engine.anchor}{CREATED}"))))
    names = rf"(?:{prefixes})(?:{families})(?:_total)*|{PROCESS_START}"
    return re.compile(rf"\n[ \t]*(\{{[^\n]*|(?:{names})(?![\w:])[^\n]*)", re.ASCII)


def _troubles(engine: EngineMap, exposition: Exposition, reading: EngineReading) -> frozenset[str]:
    lines = {f"line cannot be read: {line.text}" for line in exposition.bad_lines}
    unknown = {
        f"{name} counts tokens and is not known to the names of {engine.name} as of {engine.as_of}"
        for name in reading.unknown
    }
    return frozenset(lines | unknown | set(reading.left_out))


def _key(counter: CounterReading) -> tuple[str, object]:
    return counter.name, tuple(sorted(counter.labels.items()))
