"""What an export is: a pure form that rows of an entity and period are written in, one by one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from ledger.domain.books.exported import JournalHead
from ledger.domain.period import zone


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
    journal: JournalHead = field(default_factory=JournalHead)
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
    lines: Callable[[ExportScope, Iterable[Any]], Iterator[str]]

    @property
    def filename(self) -> str:
        """Name of the file: the format's and its suffix."""
        return f"{self.name}{self.suffix}"
