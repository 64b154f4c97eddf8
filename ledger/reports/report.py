"""What a report of one entity over a period is: described once, for API, command line and docs.

A report is a value: its name, where the API has it, what may be asked, how it is read, its JSON and
what a person is shown of it. It stands in one table (`reports/table.py`).
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypedDict, TypeVar

from ledger.domain.period import Period, month_of
from ledger.store.connect import CutOff, draw_cut_off
from ledger.store.queries import Connection
from ledger.store.refusals import LinesLetGo
from ledger.wire.answer_fields import ClosedModel

R = TypeVar("R")


class ReportScope(TypedDict):
    """Of which entity, over [since, until), as known at a cut-off."""

    entity_id: str
    since: datetime
    until: datetime
    cut_off: CutOff


@dataclass(frozen=True, slots=True)
class ScopedReport:
    """A report of an entity over [since, until), as known at a cut-off."""

    entity_id: str
    since: datetime
    until: datetime
    cut_off: CutOff

    def of_what(self) -> dict[str, object]:
        """What it is of, as programs see it."""
        return {
            "entity_id": self.entity_id,
            "since": self.since,
            "until": self.until,
            "cut_off_id": self.cut_off.cut_off_id,
        }


@dataclass(frozen=True, slots=True)
class ReportOption:
    """What may be asked beside entity and period, and what is where nothing is asked.

    `shown_only`: it chooses what people are shown of a report that programs get whole.
    """

    name: str
    default: str
    about: str
    shown_only: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of a report, each of its options by name.

    An entity that asks `alone` sees what is known to be its own; people see times in a zone.
    """

    options: Mapping[str, str]
    alone: bool = False
    zone_name: str = "UTC"


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table for people: its title, and what stands behind whom and when it is of.

    The last `numbers` columns are numbers; the columns named `first` fit a narrow terminal first.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    numbers: int = 0
    first: Sequence[str] = ()
    behind: str = ""


@dataclass(frozen=True, slots=True)
class Warned:
    """A line that is none of the answer."""

    text: str


Shown = ReportTable | Warned | str


@dataclass(frozen=True, slots=True)
class PeriodReport(Generic[R]):
    """`read` makes it of a scope and what was asked; `to_json` is everything in it, an `answer` or,
    `listed`, rows of it; `show` is what a person sees of it; `csv`, of what is said, lines of CSV.
    `usual` is the period where none is asked for, at a moment in a zone.
    """

    name: str
    path: str
    about: str
    answer: type[ClosedModel]
    read: Callable[[Connection, ReportScope, Asked], Awaitable[R]]
    to_json: Callable[[R], Mapping[str, object]]
    show: Callable[[R, Asked], Iterator[Shown]]
    options: tuple[ReportOption, ...] = ()
    listed: bool = False
    csv: Callable[[Any], Iterable[Mapping[str, object]]] | None = None
    usual: Callable[[datetime, str], Period] = month_of

    @property
    def defaults(self) -> Mapping[str, str]:
        """What is asked where nothing is."""
        return {option.name: option.default for option in self.options}

    async def at_once(
        self,
        connection: Connection,
        *,
        entity_id: str,
        period: tuple[datetime, datetime],
        asked: Asked,
        purpose: str,
    ) -> R:
        """The report as known now; its cut-off keeps the `purpose`.

        Read once more where cost lines that it had made again, or found, were let go meanwhile.
        """
        since, until = period
        cut_off = await draw_cut_off(connection, purpose)
        scope = ReportScope(entity_id=entity_id, since=since, until=until, cut_off=cut_off)
        try:
            return await self.read(connection, scope, asked)
        except LinesLetGo:
            return await self.read(connection, scope, asked)


def names_of(text: str) -> tuple[str, ...]:
    """The names that commas part."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
