"""A margin's lines of CSV, added up."""

import csv
from decimal import Decimal

from ledger.reports.cost.csv_lines import margin_lines
from ledger.reports.cost.margin import MarginReport
from ledger.reports.cost.margin_json import to_json
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
    return header.split(",")
