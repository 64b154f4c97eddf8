"""Reports that group sums as asked: a name, its dimensions, how it is read, and what a row says."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias

from ledger.domain.errors import InvalidInputError
from ledger.domain.metering.fact import MARKS
from ledger.domain.metering.usage_mark import known_counts
from ledger.domain.money import total
from ledger.domain.period import Period, midnight, zone
from ledger.exports.csv_text import Digits, guard, write_lines
from ledger.reports.stream import PAGE_ROWS, written
from ledger.store.connect import CutOff
from ledger.store.grouped import Group, list_groups, read_groups
from ledger.store.pricing.charged import find_charged
from ledger.store.pricing.rating import find_rated_to
from ledger.store.queries import Connection
from ledger.wire.answer_fields import ClosedModel
from ledger.wire.plain import plain_value
from ledger.wire.report_answers import ChargesReport, UsageReport
from ledger.wire.rfc3339 import format_rfc3339

STEPS = ("window", "hour", "day")
METERS = ("requests", "uncached", "cache_read", "cache_write", "visible", "reasoning")
COUNTS = (*METERS, *MARKS)
AMOUNTS = ("amount", "quantity", "unpriced_quantity")
INPUT, OUTPUT = METERS[1:4], METERS[4:]
# As a customer's name is said, and what a key calls the others.
KEYS = {
    "customer": "customer",
    "project": "project_id",
    "api_key": "api_key_id",
    "agent": "agent_id",
    "tier": "tier",
    "model": "model",
    "adapter": "adapter",
    "region": "region",
    "outcome": "outcome",
}
Said: TypeAlias = dict[str, Any]
Sums: TypeAlias = Mapping[str, Any]
Find: TypeAlias = "Callable[[Connection, Grouping, str], Awaitable[dict[str, object]]]"
State: TypeAlias = "Callable[[Connection, Grouping], Awaitable[Said]]"


@dataclass(frozen=True, slots=True)
class GroupedTable:
    """Headers of a report's table, and what stands under each; `absent` where nothing is known."""

    title: str
    headers: tuple[str, ...]
    names: tuple[str, ...]
    first: tuple[str, ...]
    absent: str


@dataclass(frozen=True, slots=True)
class GroupedReport:
    """`query` gives `sums` by `dimensions`, whose values are what it calls them; `by` where nothing
    is asked.

    A group says `more` behind them; `say` makes the `columns` of a row of sums, `shown` those that
    people see; `find` finds what else it is asked, and `state` how far what it reads has come.
    """

    name: str
    about: str
    answer: type[ClosedModel]
    by: str
    query: str
    dimensions: Mapping[str, str]
    sums: tuple[str, ...]
    columns: tuple[str, ...]
    say: Callable[[Sums], Said]
    shown: GroupedTable
    find: "Find"
    more: tuple[str, ...] = ()
    state: "State | None" = None

    def names(self, by: str) -> tuple[str, ...]:
        """The dimensions and the step that `by` names; InvalidInputError where there is none."""
        names = tuple(name.strip() for name in by.split(",") if name.strip())
        wrong = [name for name in names if name not in self.dimensions and name not in STEPS]
        if wrong or sum(name in STEPS for name in names) > 1 or len(set(names)) < len(names):
            known = f"{', '.join(self.dimensions)} and at most one of {', '.join(STEPS)}"
            raise InvalidInputError(
                f"by: cannot group by {by!r}.", f"Send some of {known}, each once.", "by"
            )
        return names


def _say_usage(sums: Sums) -> Said:
    counts = {name: sums[name] for name in COUNTS}
    tokens = {
        "input_tokens": sum(sums[name] for name in INPUT),
        "output_tokens": sum(sums[name] for name in OUTPUT),
    }
    return dict(known_counts(counts | tokens))


def _say_charge(sums: Sums) -> Said:
    return {name: sums[name] for name in AMOUNTS}


async def find_known(_: Connection, grouping: "Grouping", __: str) -> dict[str, object]:
    """Whether customers that nobody knows are left out."""
    return {"known": grouping.known}


async def _find_charges(
    connection: Connection, grouping: "Grouping", step: str
) -> dict[str, object]:
    asked = await find_charged(
        connection,
        Period(grouping.since, grouping.until),
        batch_seq=grouping.cut_off.batch_seq,
        entity_id=grouping.entity_id,
        customer_id=grouping.customer_id,
        days_of=grouping.zone_name if step else None,
        in_days=step in ("", "day"),
    )
    return {"asked": asked}


async def _rated_to(connection: Connection, grouping: "Grouping") -> Said:
    rated_to = await find_rated_to(
        connection,
        entity_id=grouping.entity_id,
        customer_id=grouping.customer_id,
        batch_seq=grouping.cut_off.batch_seq,
    )
    return {"rated_to": rated_to}


USAGE = GroupedReport(
    "usage",
    "Requests and tokens of a period, by dimensions and at most one of window, hour and day.",
    UsageReport,
    "customer,model,tier",
    "sum_usage",
    KEYS,
    COUNTS,
    (*COUNTS, "input_tokens", "output_tokens"),
    _say_usage,
    GroupedTable(
        "Usage",
        (
            *("requests", "input", "cached", "output", "reasoning"),
            *("estimated", "incomplete", "no input", "no output"),
            *("no cached", "no writes", "no reasoning"),
        ),
        ("requests", "input_tokens", "cache_read", "output_tokens", "reasoning", *MARKS),
        ("input", "output", "requests"),
        "unknown",
    ),
    find_known,
)
CHARGES = GroupedReport(
    "charges",
    "What usage of a period comes to, exact and before any invoice, by dimensions and currency."
    "\n\nAn amount is null where nothing of the group has a price yet.",
    ChargesReport,
    "customer",
    "sum_charges",
    KEYS | {"meter": "meter"},
    AMOUNTS,
    AMOUNTS,
    _say_charge,
    GroupedTable(
        "Charges",
        ("currency", "units", "wait for a price", "amount"),
        ("currency", "quantity", "unpriced_quantity", "amount"),
        ("amount", "currency", "units"),
        "–",
    ),
    _find_charges,
    ("currency",),
    _rated_to,
)


class Totals:
    """Sums of rows as they come, one for each of what the report says behind its dimensions."""

    def __init__(self, report: GroupedReport) -> None:
        self._report = report
        self._sums: dict[tuple[str, ...], dict[str, Any]] = {}

    def add(self, page: Iterable[Group]) -> None:
        """Some more rows; what is None is of no sum."""
        behind = len(self._report.more)
        for group in page:
            key = tuple(group.position[len(group.position) - behind :])
            sums = self._sums.setdefault(key, dict.fromkeys(self._report.sums))
            for name in self._report.sums:
                more = group.sums[name]
                if more is not None:
                    sums[name] = more if sums[name] is None else _sum(sums[name], more)

    def said(self) -> list[Said]:
        """What a row would say of each, in order; of nothing, one of zeros where there is one."""
        if not self._sums and not self._report.more:
            return [self._report.say(dict.fromkeys(self._report.sums, 0))]
        return [
            {name: text or None for name, text in zip(self._report.more, key, strict=True)}
            | self._report.say(sums)
            for key, sums in sorted(self._sums.items())
        ]


def _sum(left: Any, right: Any) -> Any:
    return total([left, right]) if isinstance(left, Decimal) else left + right


@dataclass(frozen=True, slots=True)
class Grouping:
    """How a report is grouped, over [since, until) as known at a cut-off.

    None is any entity or customer; `known` leaves out customers that nobody knows.
    """

    report: GroupedReport
    by: tuple[str, ...]
    since: datetime
    until: datetime
    cut_off: CutOff
    entity_id: str | None = None
    customer_id: str | None = None
    zone_name: str = "UTC"
    known: bool = False

    def say(self, group: Group) -> Said:
        """A row by its names; a currency that nothing has is None."""
        position = dict(zip((*self.by, *self.report.more), group.position, strict=True))
        more = {name: position[name] or None for name in self.report.more}
        if "day" in position:
            day = date.fromisoformat(position["day"][:10])
            more["day"] = format_rfc3339(midnight(day, self.zone_name))
        return position | more | self.report.say(group.sums)

    async def _given(self, connection: Connection) -> dict[str, object]:
        at = next((at for at, name in enumerate(self.by) if name in STEPS), len(self.by))
        columns = [self.report.dimensions.get(name, "") for name in self.by]
        step = self.by[at] if at < len(self.by) else ""
        given: dict[str, object] = {
            "before": columns[:at],
            "behind": columns[at + 1 :],
            "step": step,
            "zone": zone(self.zone_name).key,
            "since": self.since,
            "until": self.until,
            "batch_seq": self.cut_off.batch_seq,
            "entity_id": self.entity_id,
            "customer_id": self.customer_id,
        }
        return given | await self.report.find(connection, self, step)

    def asked(self) -> Said:
        """What it is of, as both ways to ask for it say."""
        return {
            "since": self.since,
            "until": self.until,
            "cut_off_id": self.cut_off.cut_off_id,
            "zone": self.zone_name,
            "by": list(self.by),
        }

    async def state(self, connection: Connection) -> Said:
        """How far what it reads has come, where the report says that; needs the worker's rights."""
        return await self.report.state(connection, self) if self.report.state else {}

    async def total(self, connection: Connection) -> dict[str, Said]:
        """What a row of everything says, under its name; nothing where a report has no such row."""
        if self.report.more:
            return {}
        totals = Totals(self.report)
        given = await replace(self, by=())._given(connection) | {"after": None, "most": 1}
        totals.add(await list_groups(connection, self.report.query, **given))
        return {"total": totals.said()[0]}

    async def page(
        self, connection: Connection, most: int, after: Sequence[str] | None = None
    ) -> tuple[list[Said], list[str] | None]:
        """So many groups after a place, and the place of the last where more follow."""
        given = await self._given(connection) | {"after": after, "most": most + 1}
        rows = await list_groups(connection, self.report.query, **given)
        shown = rows[:most]
        said = await asyncio.to_thread(lambda: [self.say(row) for row in shown])
        return said, list(shown[-1].position) if len(rows) > most else None

    async def pages(self, connection: Connection) -> AsyncIterator[Sequence[Group]]:
        """All groups, a page at a time, of one snapshot; needs a transaction."""
        given = await self._given(connection) | {"after": None, "most": None}
        async for page in read_groups(connection, self.report.query, PAGE_ROWS, **given):
            yield page

    async def csv(self, connection: Connection, *, raw: bool) -> AsyncGenerator[bytes, None]:
        """All groups as CSV, whose text is guarded unless it is for programs; in a transaction."""
        columns = (*self.by, *self.report.more, *self.report.columns)
        rest = written(self.pages(connection), partial(self._lines, columns, raw))
        yield write_lines([columns]).encode() + await anext(rest, b"")
        async for part in rest:
            yield part

    def _lines(self, columns: Sequence[str], raw: bool, page: Sequence[Group]) -> Iterable[str]:
        values = (self.say(row) for row in page)
        yield write_lines([_cell(said[name], raw) for name in columns] for said in values)


def _cell(value: object, raw: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value if raw else guard(value)
    return Digits(plain_value(value))
