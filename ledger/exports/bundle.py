"""What an export is made from: rows of an entity and period, as known at one cut-off."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeAlias

from ledger.domain.period import zone

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ExportBundle:
    """Rows by part (`journal`, `invoices`, …), with what they are rows of; [since, until).

    `raw` leaves text as it is, for programs; otherwise a spreadsheet cannot take it for a formula.
    """

    entity_id: str
    entity_name: str
    currency: str
    zone: str
    since: datetime
    until: datetime
    batch_seq: int
    parts: Mapping[str, Sequence[Row]]
    raw: bool = False

    def local_date(self, moment: datetime) -> date:
        """The day in the entity's zone."""
        return moment.astimezone(zone(self.zone)).date()


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A file format: the part it reads, and a pure generator from a bundle to text in UTF-8.

    The same bundle gives the same bytes; rows are sorted by the key that the format's file names.
    """

    name: str
    part: str
    media_type: str
    suffix: str
    write: Callable[[ExportBundle], Iterator[str]]

    @property
    def filename(self) -> str:
        """Name of the file: the format's and its suffix."""
        return f"{self.name}{self.suffix}"

    def content(self, bundle: ExportBundle) -> bytes:
        """The whole file."""
        return "".join(self.write(bundle)).encode()
