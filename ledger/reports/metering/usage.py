"""Usage of a period, grouped as asked: requests and tokens, unknown customers by their own name."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.domain.errors import InvalidInputError
from ledger.domain.metering.fact import MARKS
from ledger.domain.metering.usage_mark import known_counts
from ledger.domain.period import hour_start, midnight, zone
from ledger.store.connect import CutOff
from ledger.store.operations import sum_usage_windows
from ledger.store.queries import Connection
from ledger.wire.rfc3339 import format_rfc3339, parse_rfc3339

METERS = ("requests", "uncached", "cache_read", "cache_write", "visible", "reasoning")
COUNTS = (*METERS, *MARKS)
DIMENSIONS: Mapping[str, str] = {
    "customer": "customer_ref",
    "project": "project_id",
    "api_key": "api_key_id",
    "agent": "agent_id",
    "tier": "tier",
    "model": "model",
    "adapter": "adapter",
    "region": "region",
}
STEPS = ("window", "hour", "day")
UNKNOWN = "unknown"
MARK_HEADERS = ("estimated", "incomplete", "no input", "no output")


@dataclass(frozen=True, slots=True)
class UsageOf:
    """Whose usage: None is any entity or customer."""

    entity_id: str | None = None
    customer_id: str | None = None


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Requests and tokens of one group; `counts` are in the order of COUNTS."""

    group: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def input_tokens(self) -> int:
        """All input tokens."""
        return sum(self.counts[1:4])

    @property
    def output_tokens(self) -> int:
        """All output tokens."""
        return sum(self.counts[4:6])

    def known(self) -> dict[str, int | None]:
        """Every count by its name, and both sums; None is unknown."""
        sums = {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}
        return known_counts(dict(zip(COUNTS, self.counts, strict=True)) | sums)


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Usage over [since, until) as known at a cut-off, grouped `by` dimensions and time steps."""

    since: datetime
    until: datetime
    cut_off: CutOff
    by: tuple[str, ...]
    rows: tuple[UsageRow, ...]
    total: UsageRow
    zone_name: str


async def usage_report(
    connection: Connection,
    *,
    since: datetime,
    until: datetime,
    cut_off: CutOff,
    by: Sequence[str],
    zone_name: str = "UTC",
    of: UsageOf = UsageOf(),
) -> UsageReport:
    """Usage grouped by dimensions and at most one of window, hour and day (in the zone)."""
    _check(by)
    found = await sum_usage_windows(
        connection,
        since=since,
        until=until,
        batch_seq=cut_off.batch_seq,
        entity_id=of.entity_id,
        customer_id=of.customer_id,
    )
    rows, total = sum_groups(
        (dict(row) for row in found), lambda row: tuple(_name(row, name, zone_name) for name in by)
    )
    return UsageReport(since, until, cut_off, tuple(by), rows, total, zone_name)


def sum_groups(
    found: Iterable[Mapping[str, Any]], group_of: Callable[[Mapping[str, Any]], tuple[str, ...]]
) -> tuple[tuple[UsageRow, ...], UsageRow]:
    """Rows that have COUNTS summed by their groups, in order, and the total of all."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * len(COUNTS))
    for row in found:
        group = groups[group_of(row)]
        for index, count in enumerate(COUNTS):
            group[index] += row[count]
    rows = tuple(UsageRow(group, tuple(counts)) for group, counts in sorted(groups.items()))
    sums = tuple(sum(column) for column in zip(*(row.counts for row in rows), strict=True))
    return rows, UsageRow(("total",), sums or (0,) * len(COUNTS))


def show_groups(by: Sequence[str], rows: Iterable[UsageRow], total: UsageRow) -> dict[str, Any]:
    """The groups and their total as JSON holds them."""
    items = [dict(zip(by, row.group, strict=True)) | row.known() for row in rows]
    return {"by": list(by), "items": items, "total": total.known()}


def to_json(report: UsageReport) -> dict[str, Any]:
    """Everything in the report; counts are integers."""
    return {
        "since": report.since,
        "until": report.until,
        "cut_off_id": report.cut_off.cut_off_id,
        "zone": report.zone_name,
        **show_groups(report.by, report.rows, report.total),
    }


def to_table(report: UsageReport) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Headers and rows."""
    headers = (*report.by, "requests", "input", "cached", "output", "reasoning", *MARK_HEADERS)
    blank = ("",) * max(len(report.by) - 1, 0)
    rows = [(*_group(row.group, report), *_cells(row)) for row in report.rows]
    if report.by:
        rows.append(("total", *blank, *_cells(report.total)))
    return headers, rows


def _group(group: Sequence[str], report: UsageReport) -> Iterable[str]:
    """The group with its time, if it has one, in the report's zone."""
    for name, said in zip(report.by, group, strict=True):
        if name in STEPS:
            local = parse_rfc3339(said).astimezone(zone(report.zone_name))
            # The offset tells the two passes of a repeated hour apart.
            yield f"{local:%F}" if name == "day" else f"{local.isoformat(' ', 'minutes')}"
        else:
            yield said


def _check(by: Sequence[str]) -> None:
    unknown = [name for name in by if name not in DIMENSIONS and name not in STEPS]
    if unknown:
        raise InvalidInputError(
            f"Usage cannot be grouped by {', '.join(unknown)}.",
            f"Use {', '.join((*DIMENSIONS, *STEPS))}.",
            "by",
        )


def _name(row: Mapping[str, Any], dimension: str, zone_name: str) -> str:
    if dimension in DIMENSIONS:
        if dimension == "customer":
            return str(row["customer_id"] or f"({row['customer_ref']})")
        return str(row[DIMENSIONS[dimension]])
    return format_rfc3339(_step(row["window_start"], dimension, zone_name))


def _step(window: datetime, step: str, zone_name: str) -> datetime:
    if step == "day":
        return midnight(window.astimezone(zone(zone_name)).date(), zone_name)
    return hour_start(window, zone_name) if step == "hour" else window


def _cells(row: UsageRow) -> Iterable[int | str]:
    known = row.known()
    names = ("requests", "input_tokens", "cache_read", "output_tokens", "reasoning")
    cells = [UNKNOWN if known[name] is None else known[name] for name in names]
    return [cell for cell in cells if cell is not None] + [known[mark] or 0 for mark in MARKS]
