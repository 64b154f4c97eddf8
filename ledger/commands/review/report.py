"""`tokenledger report`: margin, energy, usage, charges and coverage, for people or with --json."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_json, print_table
from ledger.commands.review.grouped import charges, usage
from ledger.commands.run.periods import AskedPeriod, Scope, describe, find_scope, period_options
from ledger.commands.serve.database import Database, database_options
from ledger.domain.period import zone
from ledger.reports import findings
from ledger.reports.cost import margin_text
from ledger.reports.cost.evidence import how_to_trace
from ledger.reports.cost.margin import MarginReport
from ledger.reports.energy.energy import EnergyReport
from ledger.reports.energy.energy import to_table as energy_table
from ledger.reports.metering.coverage import CoverageReport, Reconciliation
from ledger.reports.table import COVERAGE, ENERGY, MARGIN, PeriodReport
from ledger.store.queries import Connection

R = TypeVar("R")


@click.group()
def report() -> None:
    """What the books say of a period: the present month where nothing is said."""


report.add_command(charges)
report.add_command(usage)


def _add(
    about: PeriodReport[R], help_text: str, show: Callable[[Scope, R, str], None], by_help: str
) -> None:
    """Give `report` the command of a report, which `show` shows to people."""

    @period_options
    @json_option
    @database_options
    def command(
        database: Database, *, asked: AskedPeriod, as_json: bool, by: str = about.by
    ) -> None:
        async def read(connection: Connection) -> tuple[Scope, R]:
            scope = await find_scope(connection, asked, clock.now())
            return scope, await about.at_once(
                connection,
                entity_id=scope.entity_id,
                period=(scope.since, scope.until),
                by=by,
                purpose=f"report {about.name}",
            )

        scope, found = database.run(read)
        if as_json:
            print_json(about.to_json(found))
        else:
            show(scope, found, by)

    if about.by:
        command = click.option("--by", default=about.by, show_default=True, help=by_help)(command)
    report.add_command(click.command(about.name, help=help_text)(command))


def _show_margin(scope: Scope, found: MarginReport, by: str) -> None:  # noqa: ARG001
    headers, rows = margin_text.to_table(found)
    title = f"{describe('Margin', scope)}, amounts in {found.currency}"
    numbers = len(margin_text.HEADERS)
    print_table(title, headers, rows, numbers=numbers, first=margin_text.FIRST)
    _say_how_to_trace(line.scope for line in found.own_lines)
    if found.missing is not None:
        click.echo(f"Cost and margin are unknown. {found.missing}", err=True)


def _show_energy(scope: Scope, found: EnergyReport, by: str) -> None:
    headers, rows = energy_table(found.by_scope if by == "scope" else found.by_model)
    print_table(describe("Energy", scope), headers, rows, numbers=len(headers) - 1)
    _say_how_to_trace(row.name for row in found.by_scope)
    for line in (*findings.to_lines(found.findings), *findings.gaps_to_lines(found.meter_gaps)):
        click.echo(line)


def _say_how_to_trace(scopes: Iterable[str]) -> None:
    how = how_to_trace(scopes)
    if how is not None:
        click.echo(how)


def _show_coverage(scope: Scope, found: CoverageReport, by: str) -> None:  # noqa: ARG001
    rows = [
        (row.deployment_id, "yes" if row.asked else "no", row.deployed_gpu_s, row.covered_gpu_s)
        for row in found.energy
    ]
    columns = ("deployment", "energy asked for", "GPU-seconds deployed", "with readings")
    print_table(describe("Energy coverage", scope), columns, rows, numbers=2)
    served = f"{found.usage.served_tokens:,} of {found.usage.tokens:,}"
    click.echo(f"Tokens served by a deployment: {served}")
    for gap in found.usage.unclaimed:
        click.echo(f"  not served by any: {gap}")
    for gpu in found.stray_gpus:
        click.echo(f"  GPU of no entity: {gpu}")
    for line in (*findings.to_lines(found.findings), *findings.gaps_to_lines(found.meter_gaps)):
        click.echo(line)
    _show_engines(scope, found.engines)


def _show_engines(scope: Scope, engines: Sequence[Reconciliation]) -> None:
    rows = [
        (
            *(
                row.engine_instance,
                f"{row.hour.astimezone(zone(scope.zone)).isoformat(' ', 'minutes')}",
            ),
            ", ".join(row.flags) or None,
            *(row.engine_input, row.event_input, row.input_difference),
            *(row.engine_output, row.event_output, row.output_difference),
        )
        for row in engines
    ]
    columns = (
        *("engine", "hour", "not certain for", "input counted", "of events", "input not reported"),
        *("output counted", "of events", "output not reported"),
    )
    if rows:
        first = ("hour", "input not reported", "output not reported", "not certain for")
        title = describe("Engines beside events, tokens,", scope)
        print_table(title, columns, rows, numbers=6, first=first)
    else:
        click.echo("Engines: none sent its counters, so nothing stands beside the events.")


_add(
    MARGIN,
    "Revenue beside cost, before and after idle; where a cost is incomplete it is unknown.",
    _show_margin,
    "tier, customer, agent, model.",
)
_add(
    ENERGY,
    "Tokens per joule, busy and idle energy, by model or by scope.",
    _show_energy,
    "model or scope.",
)
_add(
    COVERAGE,
    "How much energy was measured, what a deployment served, and what engines counted.",
    _show_coverage,
    "",
)
