"""`tokenledger report`: margin, energy, usage, charges and coverage, for people or with --json."""

from collections.abc import Iterable, Sequence

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_json, print_table
from ledger.commands.review.grouped import charges, usage
from ledger.commands.run.periods import AskedPeriod, Scope, describe, find_scope, period_options
from ledger.commands.serve.database import Database, database_options
from ledger.domain.period import zone
from ledger.reports import findings
from ledger.reports.cost import margin as margin_room
from ledger.reports.cost import margin_text
from ledger.reports.cost.evidence import how_to_trace
from ledger.reports.energy import energy as energy_room
from ledger.reports.metering import coverage as coverage_room
from ledger.store.connect import CutOff, draw_cut_off
from ledger.store.queries import Connection


@click.group()
def report() -> None:
    """What the books say of a period: the present month where nothing is said."""


report.add_command(charges)
report.add_command(usage)


async def _start(connection: Connection, asked: AskedPeriod, name: str) -> tuple[Scope, CutOff]:
    scope = await find_scope(connection, asked, clock.now())
    return scope, await draw_cut_off(connection, f"report {name}")


@report.command()
@period_options
@click.option("--by", default="tier", show_default=True, help="tier, customer, agent, model.")
@json_option
@database_options
def margin(database: Database, asked: AskedPeriod, by: str, as_json: bool) -> None:
    """Revenue beside cost, before and after idle; where a cost is incomplete it is unknown."""

    async def read(connection: Connection) -> tuple[Scope, margin_room.MarginReport]:
        scope, cut_off = await _start(connection, asked, "margin")
        return scope, await margin_room.margin_report(
            connection,
            entity_id=scope.entity_id,
            since=scope.since,
            until=scope.until,
            cut_off=cut_off,
            by=_names(by),
            without_cost=True,
        )

    scope, found = database.run(read)
    if as_json:
        print_json(margin_text.to_json(found))
        return
    headers, rows = margin_text.to_table(found)
    title = f"{describe('Margin', scope)}, amounts in {found.currency}"
    numbers = len(margin_text.HEADERS)
    print_table(title, headers, rows, numbers=numbers, first=margin_text.FIRST)
    _say_how_to_trace(line.scope for line in found.own_lines)
    if found.missing is not None:
        click.echo(f"Cost and margin are unknown. {found.missing}", err=True)


@report.command()
@period_options
@click.option("--by", default="model", show_default=True, help="model or scope.")
@json_option
@database_options
def energy(database: Database, asked: AskedPeriod, by: str, as_json: bool) -> None:
    """Tokens per joule, busy and idle energy, by model or by scope."""

    async def read(connection: Connection) -> tuple[Scope, energy_room.EnergyReport]:
        scope, cut_off = await _start(connection, asked, "energy")
        return scope, await energy_room.energy_report(
            connection,
            entity_id=scope.entity_id,
            since=scope.since,
            until=scope.until,
            cut_off=cut_off,
        )

    scope, found = database.run(read)
    if as_json:
        print_json(energy_room.to_json(found))
        return
    headers, rows = energy_room.to_table(found.by_scope if by == "scope" else found.by_model)
    print_table(describe("Energy", scope), headers, rows, numbers=len(headers) - 1)
    _say_how_to_trace(row.name for row in found.by_scope)
    for line in findings.to_lines(found.findings):
        click.echo(line)


def _say_how_to_trace(scopes: Iterable[str]) -> None:
    how = how_to_trace(scopes)
    if how is not None:
        click.echo(how)


@report.command()
@period_options
@json_option
@database_options
def coverage(database: Database, asked: AskedPeriod, as_json: bool) -> None:
    """How much energy was measured, what a deployment served, and what engines counted."""

    async def read(connection: Connection) -> tuple[Scope, coverage_room.CoverageReport]:
        scope, cut_off = await _start(connection, asked, "coverage")
        return scope, await coverage_room.coverage_report(
            connection,
            entity_id=scope.entity_id,
            since=scope.since,
            until=scope.until,
            cut_off=cut_off,
        )

    scope, found = database.run(read)
    if as_json:
        print_json(coverage_room.to_json(found))
        return
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
    for line in findings.to_lines(found.findings):
        click.echo(line)
    _show_engines(scope, found.engines)


def _show_engines(scope: Scope, engines: Sequence[coverage_room.Reconciliation]) -> None:
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


def _names(by: str) -> Sequence[str]:
    return tuple(name.strip() for name in by.split(",") if name.strip())
