"""Reports of one entity over a period, each described once: a name, how it is read, its JSON.

The command line and the API go by these; what a person is shown on a terminal is the command's own.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypedDict, TypeVar

from ledger.reports.cost.margin import MarginReport, margin_report
from ledger.reports.cost.margin_text import to_json as margin_json
from ledger.reports.energy.energy import EnergyReport, energy_report
from ledger.reports.energy.energy import to_json as energy_json
from ledger.reports.metering.coverage import CoverageReport, coverage_report
from ledger.reports.metering.coverage import to_json as coverage_json
from ledger.store.connect import CutOff, draw_cut_off
from ledger.store.queries import Connection

R = TypeVar("R")


class ReportScope(TypedDict):
    """Of which entity, over [since, until), as known at a cut-off."""

    entity_id: str
    since: datetime
    until: datetime
    cut_off: CutOff


@dataclass(frozen=True, slots=True)
class PeriodReport(Generic[R]):
    """`read` makes it of a scope and the names to group `by`; `to_json` is everything in it."""

    name: str
    by: str
    read: Callable[[Connection, ReportScope, tuple[str, ...]], Awaitable[R]]
    to_json: Callable[[R], dict[str, object]]

    async def at_once(
        self,
        connection: Connection,
        *,
        entity_id: str,
        period: tuple[datetime, datetime],
        by: str,
        purpose: str,
    ) -> R:
        """The report as known now, by names that commas part; its cut-off keeps the `purpose`."""
        since, until = period
        names = tuple(name.strip() for name in by.split(",") if name.strip())
        cut_off = await draw_cut_off(connection, purpose)
        scope = ReportScope(entity_id=entity_id, since=since, until=until, cut_off=cut_off)
        return await self.read(connection, scope, names)


async def _read_margin(
    connection: Connection, scope: ReportScope, by: tuple[str, ...]
) -> MarginReport:
    return await margin_report(connection, **scope, by=by, without_cost=True)


MARGIN = PeriodReport("margin", "tier", _read_margin, margin_json)
# By model and by scope at once: what is shown of them is chosen afterwards.
ENERGY: PeriodReport[EnergyReport] = PeriodReport(
    "energy", "model", lambda connection, scope, _: energy_report(connection, **scope), energy_json
)
COVERAGE: PeriodReport[CoverageReport] = PeriodReport(
    "coverage", "", lambda connection, scope, _: coverage_report(connection, **scope), coverage_json
)
