"""Reads what the books say of both factories, for the terminal and for summary.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from ledger.demo import own_fleet, published_day
from ledger.domain.billing.issued import StoredInvoice
from ledger.domain.cost.margin import Margin
from ledger.domain.money import ROUNDING, ZERO, plain
from ledger.reports.cost.margin import MarginReport, margin_report
from ledger.store import api_reads, operations
from ledger.store.billing.invoice import list_invoices
from ledger.store.books.balances import sum_accounts
from ledger.store.connect import CutOff, draw_cut_off
from ledger.store.queries import Connection
from ledger.wire.units import MJ_PER_KWH

CENT = Decimal("0.01")
MILLI = Decimal("0.001")
MICRO = Decimal("0.000001")
REPORTED_BY = ("tier", "customer", "agent")


@dataclass(frozen=True, slots=True)
class Books:
    """One factory's reports at one cut-off."""

    entity_id: str
    by: Mapping[str, MarginReport]
    accounts: Mapping[str, Decimal]
    invoices: list[StoredInvoice]

    @property
    def tiers(self) -> MarginReport:
        """The margin report by tier."""
        return self.by["tier"]

    @property
    def margin(self) -> Margin:
        """Revenue of account 4000 over all cost, idle included."""
        report = self.tiers
        return Margin(-self.accounts.get("4000", ZERO), report.cost, report.currency)

    @property
    def invoiced(self) -> Decimal:
        """Total of the invoices."""
        return sum((invoice.totals.payable for invoice in self.invoices), ZERO)


async def read_books(
    connection: Connection, entity_id: str, since: datetime, until: datetime, cut_off: CutOff
) -> Books:
    """Reports of an entity over its day."""
    reports = {
        by: await margin_report(
            connection, entity_id=entity_id, since=since, until=until, cut_off=cut_off, by=(by,)
        )
        for by in REPORTED_BY
    }
    accounts = await sum_accounts(connection, entity_id=entity_id, batch_seq=cut_off.batch_seq)
    return Books(
        entity_id,
        reports,
        {balance.account: balance.closing for balance in accounts},
        await list_invoices(connection, entity_id=entity_id),
    )


async def read_both(connection: Connection) -> tuple[Books, Books]:
    """Books of the published day and of the own fleet, at one cut-off."""
    cut_off = await draw_cut_off(connection, "demo")
    day = await read_books(
        connection, published_day.ENTITY, published_day.START, published_day.END, cut_off
    )
    fleet = await read_books(connection, own_fleet.ENTITY, own_fleet.START, own_fleet.END, cut_off)
    return day, fleet


async def summarise(connection: Connection, day: Books, fleet: Books) -> dict[str, Any]:
    """What `summary.json` holds: money and percentages as text, counts as integers."""
    hourly = await api_reads.sum_hourly(
        connection,
        entity_id=published_day.ENTITY,
        since=published_day.START,
        until=published_day.END,
        step="hour",
        zone_name="UTC",
    )
    fates = await operations.sum_receipts(connection)
    return {
        "published_day": {
            "cost_usd": cents(day.margin.cost),
            "revenue_usd": cents(day.margin.revenue),
            "gross_margin_pct": str(day.margin.gross_margin_pct),
            "markup_pct": str(day.margin.markup_pct),
            "hourly_cost_usd": [cents(each.cost) for each in hourly if each.cost is not None],
            "invoiced_usd": cents(day.invoiced),
            "rounding_usd": plain(day.accounts.get("6100", ZERO)),
        },
        "own_fleet": _own_fleet(fleet),
        "events": {name: getattr(fates, name) for name in ("received", *FATES)},
    }


FATES = ("counted", "duplicate", "conflict", "quarantined", "superseded", "suspense")


def cents(amount: Decimal) -> str:
    """Money as text with two decimals."""
    return plain(amount.quantize(CENT, ROUND_HALF_UP, ROUNDING))


def kwh(energy_mj: int, unit: Decimal = MICRO) -> str:
    """Energy as text, to a millionth of a kilowatt-hour or another `unit`."""
    value = ROUNDING.divide(Decimal(energy_mj), Decimal(MJ_PER_KWH))
    return plain(value.quantize(unit, ROUND_HALF_UP, ROUNDING))


def _own_fleet(fleet: Books) -> dict[str, Any]:
    report = fleet.tiers
    return {
        "energy_residual_mj": report.conservation.energy_residual_mj,
        "cost_residual": plain(report.conservation.cost_residual),
        "tokens_total": report.total.input_tokens + report.total.output,
        "energy_kwh": kwh(report.energy_mj),
        "idle_cost": cents(report.idle_cost),
        "by_tier": {
            row.group[0]: {
                "tokens": row.input_tokens + row.output,
                "energy_mj": row.energy_mj,
                "cost": cents(row.cost),
                "revenue": cents(row.revenue),
                "gross_margin_pct": str(
                    Margin(row.revenue, row.cost, report.currency).gross_margin_pct
                ),
            }
            for row in report.rows
        },
    }
