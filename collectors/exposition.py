"""Prometheus text to samples that keep each value as the decimal text the server printed.

The official client's parser turns values into floats, which loses counts above 2**53 and hides
that a server printed six digits only; so this one reads the format itself.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

NO_LABELS: Mapping[str, str] = MappingProxyType({})
BAD_LINES_KEPT = 20
BAD_LINE_CHARS = 120

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_TEXT = r'"((?:[^"\\]|\\.)*)"'
_OPEN = re.compile(r"\s*\{")
# A name in quotes may have any character; without a value it is the metric's own (UTF-8 names).
_QUOTED_NAME = re.compile(rf"\s*{_TEXT}\s*(,|(?=\}}))")
_LABEL = re.compile(rf"\s*(?:([a-zA-Z_][a-zA-Z0-9_]*)|{_TEXT})\s*=\s*{_TEXT}\s*(,|(?=\}}))")
_LABELS_END = re.compile(r"\s*\}")
_VALUE = re.compile(
    r"\s*([+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf(?:inity)?|nan)))"
    r"(?:\s+[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)?(?:\s+st@\S+)?(?:\s+#\s.*)?\s*",
    re.ASCII,
)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "\\": "\\", '"': '"'}


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: name, labels as printed, value as printed (may be NaN or Inf)."""

    name: str
    value: str
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no sample: its number from 1 and how it begins."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Exposition:
    """All samples of one scrape in their order, and the first lines that could not be read."""

    samples: tuple[Sample, ...]
    bad_lines: tuple[BadLine, ...]
    bad_count: int


def parse_exposition(text: str) -> Exposition:
    """Read the text format; a broken line is reported and skipped, the others stand."""
    samples: list[Sample] = []
    bad: list[BadLine] = []
    bad_count = 0
    for number, line in _lines(text):
        sample = parse_sample(line)
        if sample is not None:
            samples.append(sample)
            continue
        bad_count += 1
        if len(bad) < BAD_LINES_KEPT:
            bad.append(BadLine(number, line[:BAD_LINE_CHARS]))
    return Exposition(tuple(samples), tuple(bad), bad_count)


def parse_sample(line: str) -> Sample | None:
    """Read one sample line; None when it is not one.

    Blanks may stand between all tokens and need not stand after a brace; names may be in quotes.
    """
    bare = _NAME.match(line)
    name, end = (bare[0], bare.end()) if bare is not None else ("", 0)
    opened = _OPEN.match(line, end)
    if opened is None:
        # Only a brace may stand right before a value.
        labels: Mapping[str, str] | None = NO_LABELS if line[end : end + 1].isspace() else None
    else:
        name, labels, end = _braces(line, opened.end(), name)
    if not name or labels is None:
        return None
    value = _VALUE.fullmatch(line, end)
    return None if value is None else Sample(name, value[1], labels)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip(" \t\r")
        if line and not line.startswith("#"):
            yield number, line


def _braces(line: str, start: int, name: str) -> tuple[str, Mapping[str, str] | None, int]:
    """The name, the labels and where they end; a name that none stands before is in quotes, first
    or between labels."""
    labels: dict[str, str] = {}
    position = start
    while True:
        label = _LABEL.match(line, position)
        quoted = _QUOTED_NAME.match(line, position) if not (label or name) else None
        if label is not None:
            key = label[1] or _unescaped(label[2])
            if key in labels:
                return name, None, position
            labels[key] = _unescaped(label[3])
            position = label.end()
        elif quoted is not None:
            name, position = _unescaped(quoted[1]), quoted.end()
        else:
            break
    end = _LABELS_END.match(line, position)
    return (name, labels, end.end()) if end is not None else (name, None, position)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_unescape, text) if "\\" in text else text


def _unescape(match: re.Match[str]) -> str:
    return _ESCAPED.get(match[1], match[0])
