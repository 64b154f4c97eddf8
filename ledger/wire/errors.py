"""The root of every error this project raises, and the errors of what crosses a process border.

TokenledgerError
└── WireError            something that came from, or goes to, another process is not well formed
    ├── Rfc3339Error     a time text
    │   └── RepeatedTimeError  a local time that its zone has twice
    ├── BatchHeaderError the tl-* headers of a batch
    ├── LineError        a line of NDJSON
    ├── FieldError       a value that its field may not have
    ├── EventTooLargeError  one event that no batch can hold
    ├── EventError       an event; carries every problem found
    └── InputError       something entered by hand; carries every problem found
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

FOUND_CHARS_MAX = 80
PROBLEM_CHARS_MAX = 500


class TokenledgerError(Exception):
    """Base of every error raised on purpose; its text says what is wrong, where, and what to do."""


class WireError(TokenledgerError, ValueError):
    """Something that crossed a process border is not well formed."""


class Rfc3339Error(WireError):
    """A text is not an RFC 3339 time that names one instant."""


class RepeatedTimeError(Rfc3339Error):
    """A local time names two instants of its zone."""


class BatchHeaderError(WireError):
    """The tl-* headers of a batch are incomplete or out of range."""


class LineError(WireError):
    """A line of NDJSON is not one JSON object."""


class EventTooLargeError(WireError):
    """One event alone is larger than a batch may be."""


# What is wrong with an event, as far as it is more than a field of the wrong form.
ProblemCode = Literal[
    "invalid_field",
    "unknown_type",
    "missing_time",
    "negative_count",
    "absurd_count",
    "sum_mismatch",
    "no_counts",
    "times_unordered",
    "estimate_complete",
    "context_beyond_input",
    "modality_beyond_side",
    "parts_beyond_side",
    "several_models",
    "two_customers",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an event: where (dotted field), what was found, what to do.

    `code` is for programs and never changes; the words beside it are for people.

    Names that people choose may stand in all three: they are kept as `storable` text.
    """

    field: str
    found: str
    action: str
    code: ProblemCode = "invalid_field"

    def __post_init__(self) -> None:
        for name in ("field", "found", "action"):
            text = storable(getattr(self, name), PROBLEM_CHARS_MAX)
            object.__setattr__(self, name, text)

    def __str__(self) -> str:
        return f"{self.field}: found {self.found}; {self.action}"


class FieldError(WireError):
    """A value that its field may not have: what the sender should do.

    A check over several fields names the one to look at, and what it found there.
    """

    def __init__(
        self,
        action: str,
        field: str | None = None,
        found: object = None,
        code: ProblemCode = "invalid_field",
    ) -> None:
        self.action, self.field, self.found, self.code = action, field, found, code
        super().__init__(action)


def problem_at(
    field: str, found: object, action: str, code: ProblemCode = "invalid_field"
) -> FieldError:
    """A refusal by a check over several fields, which names the one to look at."""
    return FieldError(action, field, found, code)


class ColumnarError(WireError):
    """Bytes that are no columnar.v1 body, or events that cannot be written as one."""


class EventError(WireError):
    """An event that may not be counted, with every problem found in it, in field order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class InputError(WireError):
    """Something entered by API, command line or file, with every problem found in it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


def storable(text: str, chars_max: int) -> str:
    """Text that a database, a log and JSON can hold: what none of them shows stands as U+FFFD."""
    if len(text) > chars_max:
        text = text[: chars_max - 1] + "…"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def shorten(value: object) -> str:
    """Show a value in an error without letting a hostile one fill the log."""
    # A slice first, so that a body of megabytes is never rendered whole.
    text = repr(value[:FOUND_CHARS_MAX]) if isinstance(value, str | bytes) else repr_small(value)
    return text if len(text) <= FOUND_CHARS_MAX else text[: FOUND_CHARS_MAX - 1] + "…"


def repr_small(value: object) -> str:
    """Name a container by its kind and size; show anything else as it is."""
    if isinstance(value, dict):
        return f"an object of {len(value)} fields"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)
