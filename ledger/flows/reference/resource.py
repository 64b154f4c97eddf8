"""What a kind of what is entered is: described once, for API, command line and files."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ledger.store.dated import DatedTable
from ledger.wire import changes
from ledger.wire.answer_fields import ClosedModel
from ledger.wire.inputs import InputModel

Enter = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Change:
    """What may be changed from a day on."""

    model: type[changes.PartyChange]
    change: Enter


@dataclass(frozen=True, slots=True)
class Ending:
    """Where what may end is recorded: `by` tells apart what has one id, `none` is how the table has
    what a list shows as nothing, and `after` holds what is left to what others need."""

    table: DatedTable
    by: tuple[str, ...] = ()
    none: Mapping[str, str] = field(default_factory=dict)
    after: Enter | None = None


@dataclass(frozen=True, slots=True)
class RowKind:
    """What a row of a file is, and how it is entered."""

    model: type[InputModel]
    enter: Enter


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of what is entered: `path` in the API, `word` of its files, `key` what names one,
    `row` what it looks like.

    `dated` ones may replace what is recorded for the same time. With a `parent` they are entered
    under it, and `key` is its id. `now`: a list shows what holds now, not every validity.
    `holes` finds times of which nothing is recorded beside what was entered.
    `columns` are those that a narrow table has room for.
    """

    noun: str
    path: str
    about: str
    key: str
    row: type[ClosedModel]
    columns: tuple[str, ...]
    model: type[InputModel] | None = None
    enter: Enter | None = None
    seen_by: Literal["customers", "house", "admins"] = "house"
    word: str | None = None
    dated: bool = False
    now: bool = False
    parent: str | None = None
    counted: bool = False
    holes: Enter | None = None
    change: Change | None = None
    ending: Ending | None = None

    @property
    def query(self) -> str:
        """The name of the query that lists it."""
        return f"list_{self.path.replace('-', '_')}"

    @property
    def words(self) -> frozenset[str]:
        """What people may call it on the command line."""
        noun = self.noun.lower()
        return frozenset({noun, noun.replace(" ", "-"), self.path, self.file_word})

    @property
    def file_word(self) -> str:
        """What its files are called."""
        return self.word or self.path

    @property
    def file_rows(self) -> RowKind | None:
        """What a row of its files is; None where its files are unlike the others."""
        if self.counted or self.model is None or self.enter is None:
            return None
        return RowKind(self.model, self.enter)
