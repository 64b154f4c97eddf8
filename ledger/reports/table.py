"""Every report, one line each: API, command line and OpenAPI document learn of it here."""

from collections.abc import Sequence
from typing import Any

from ledger.reports.books.balances import BALANCES
from ledger.reports.cost.bills import BILLS
from ledger.reports.cost.calibration import CALIBRATION
from ledger.reports.cost.costs import COSTS
from ledger.reports.cost.efficiency import EFFICIENCY
from ledger.reports.cost.hourly import HOURLY
from ledger.reports.cost.margin_text import MARGIN
from ledger.reports.cost.producers import PRODUCERS_REPORT
from ledger.reports.cost.sites import SITES
from ledger.reports.energy.energy import ENERGY
from ledger.reports.energy.findings import FINDINGS
from ledger.reports.grouped import CHARGES, USAGE, GroupedReport
from ledger.reports.metering.agent import AGENT
from ledger.reports.metering.agents import AGENTS
from ledger.reports.metering.coverage_text import COVERAGE
from ledger.reports.metering.engines_text import ENGINES
from ledger.reports.metering.extras import EXTRAS_REPORT
from ledger.reports.report import PeriodReport

REPORTS: Sequence[PeriodReport[Any] | GroupedReport] = (
    MARGIN,
    COSTS,
    AGENTS,
    AGENT,
    SITES,
    BILLS,
    EFFICIENCY,
    PRODUCERS_REPORT,
    CALIBRATION,
    ENERGY,
    USAGE,
    EXTRAS_REPORT,
    CHARGES,
    COVERAGE,
    ENGINES,
    FINDINGS,
    HOURLY,
    BALANCES,
)
