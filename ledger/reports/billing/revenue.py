"""Revenue as usage was charged, exact and before any rounding, grouped as asked."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ledger.domain.errors import InvalidInputError
from ledger.domain.money import EXACT, ZERO, plain, total
from ledger.store.books import export
from ledger.store.connect import CutOff
from ledger.store.queries import Connection

DIMENSIONS: Mapping[str, str] = {
    "tier": "tier",
    "customer": "customer_id",
    "agent": "agent_id",
    "model": "model",
    "meter": "meter",
}


@dataclass(frozen=True, slots=True)
class RevenueRow:
    """Tokens and exact amount of one group in one currency; without one nothing has a price."""

    group: tuple[str, ...]
    currency: str | None
    tokens: int
    unpriced_tokens: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class RevenueReport:
    """Revenue of an entity over [since, until) as known at a cut-off; totals by currency."""

    entity_id: str
    since: datetime
    until: datetime
    cut_off: CutOff
    by: tuple[str, ...]
    rows: tuple[RevenueRow, ...]
    totals: Mapping[str, Decimal]

    @property
    def unpriced_tokens(self) -> int:
        """Tokens that wait for a price and are worth nothing here yet."""
        return sum(row.unpriced_tokens for row in self.rows)


async def revenue_report(
    connection: Connection,
    *,
    entity_id: str,
    since: datetime,
    until: datetime,
    cut_off: CutOff,
    by: Sequence[str] = ("tier",),
) -> RevenueReport:
    """Revenue per group and currency; InvalidInputError where it cannot be grouped so."""
    unknown = [name for name in by if name not in DIMENSIONS]
    if unknown:
        raise InvalidInputError(
            f"Revenue cannot be grouped by {', '.join(unknown)}.",
            f"Use {', '.join(DIMENSIONS)}.",
            "by",
        )
    found = await export.find_priced_usage(
        connection, entity_id=entity_id, since=since, until=until, batch_seq=cut_off.batch_seq
    )
    rows = _grouped(found, by)
    sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for row in rows:
        if row.currency is not None:
            sums[row.currency] = total([sums[row.currency], row.amount])
    return RevenueReport(entity_id, since, until, cut_off, tuple(by), rows, dict(sums))


def to_json(report: RevenueReport) -> dict[str, Any]:
    """Everything in the report; money as text, counts as integers."""
    return {
        "entity_id": report.entity_id,
        "since": report.since,
        "until": report.until,
        "cut_off_id": report.cut_off.cut_off_id,
        "by": list(report.by),
        "items": [
            {
                **dict(zip(report.by, row.group, strict=True)),
                "currency": row.currency,
                "tokens": row.tokens,
                "unpriced_tokens": row.unpriced_tokens,
                "amount": plain(row.amount.normalize(EXACT)),
            }
            for row in report.rows
        ],
        "totals": {
            code: plain(amount.normalize(EXACT)) for code, amount in sorted(report.totals.items())
        },
        "unpriced_tokens": report.unpriced_tokens,
    }


def to_table(report: RevenueReport) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Headers and rows, the totals last; the last four columns are numbers."""
    headers = (*report.by, "currency", "tokens", "unpriced", "amount")
    rows: list[tuple[Any, ...]] = [
        (*row.group, row.currency or "–", row.tokens, row.unpriced_tokens, row.amount)
        for row in report.rows
    ]
    blank = ("",) * max(len(report.by) - 1, 0)
    rows += [
        ("total", *blank, code, "", "", amount) for code, amount in sorted(report.totals.items())
    ]
    return headers, rows


def _grouped(found: Sequence[Mapping[str, Any]], by: Sequence[str]) -> tuple[RevenueRow, ...]:
    groups: dict[tuple[tuple[str, ...], str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in found:
        group = tuple(str(row[DIMENSIONS[name]]) for name in by)
        groups[group, row["currency"] or ""].append(row)
    return tuple(
        RevenueRow(
            group,
            currency or None,
            sum(row["tokens"] for row in rows),
            sum(row["unpriced_tokens"] for row in rows),
            total([row["amount"] for row in rows]),
        )
        for (group, currency), rows in sorted(groups.items())
    )
