"""What an export is: a pure form that rows of an entity and period are written in, one by one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

from ledger.domain.period import zone


class Row(Protocol):
    """Values by name, as of a mapping or of a record of the database."""

    def __getitem__(self, name: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class JournalHead:
    """What the postings of a period name before the first of them: accounts and currencies, each
    once and sorted, and when the first was booked for (None: there is none)."""

    accounts: Sequence[str] = ()
    currencies: Sequence[str] = ()
    first: datetime | None = None


@dataclass(frozen=True, slots=True)
class ExportScope:
    """Whose rows, of which [since, until); `raw` leaves text as it is, for programs; otherwise a
    spreadsheet cannot take it for a formula."""

    entity_id: str
    entity_name: str
    currency: str
    zone: str
    since: datetime
    until: datetime
    journal: JournalHead = JournalHead()
    raw: bool = False

    def local_date(self, moment: datetime) -> date:
        """The day in the entity's zone."""
        return moment.astimezone(zone(self.zone)).date()


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A file format: the part it reads, and how the file begins and goes on, as text in UTF-8.

    `lines` needs nothing but the rows it is given, so that a file is written page by page; rows
    come sorted by the key that the format's file names.
    """

    name: str
    part: str
    media_type: str
    suffix: str
    head: Callable[[ExportScope], Iterator[str]]
    lines: Callable[[ExportScope, Iterable[Row]], Iterator[str]]

    @property
    def filename(self) -> str:
        """Name of the file: the format's and its suffix."""
        return f"{self.name}{self.suffix}"
