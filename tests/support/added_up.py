"""A margin's lines of CSV, and the rows of its table, added up."""

import csv
from decimal import Decimal

from ledger.reports.cost.csv_lines import margin_lines
from ledger.reports.cost.margin import MarginReport
from ledger.reports.cost.margin_json import to_json
from ledger.reports.cost.margin_text import to_table
from ledger.reports.items_csv import items_csv


def adds_up(report: MarginReport) -> list[str]:
    """Its lines of CSV come to what the report says of everything; how their columns are called."""
    header, *_ = text = items_csv(margin_lines(to_json(report))).splitlines()
    lines = [*csv.DictReader(text)]
    used = [line for line in lines if line["line"] == "used"]
    assert len(used) == len(report.rows)
    for column, whole in (
        ("cost", report.cost),
        ("energy_mj", report.energy_mj),
        ("revenue", report.total.revenue),
        ("idle_share", 0),
        ("site_share", report.site_cost),
    ):
        assert sum(Decimal(line[column] or 0) for line in lines) == whole, column
    _table_adds_up(report)
    return header.split(",")


def _table_adds_up(report: MarginReport) -> None:
    headers, (*rows, whole) = to_table(report)
    assert len(rows) >= len(report.rows) + len(report.own_lines)
    sums = ("electricity", "GPU cost", "idle share", "site share", "cost")
    for name, digit in (("kWh", "0.000001"), *((name, "0.01") for name in sums)):
        at = headers.index(name)
        shown = sum(Decimal(row[at] or 0) for row in rows)
        assert abs(shown - Decimal(whole[at])) <= Decimal(digit) * len(rows), name
