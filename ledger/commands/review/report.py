"""`tokenledger report`: margin, energy, usage and coverage, for people or with --json."""

from collections.abc import Sequence

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_json, print_table
from ledger.commands.run.periods import Asked, Scope, find_scope, period_options
from ledger.commands.serve.database import Database, database_options
from ledger.domain.period import Period, describe_days, zone
from ledger.reports import findings
from ledger.reports.cost import margin as margin_room
from ledger.reports.cost import margin_text
from ledger.reports.energy import energy as energy_room
from ledger.reports.metering import coverage as coverage_room
from ledger.reports.metering import usage as usage_room
from ledger.store.connect import CutOff, draw_cut_off
from ledger.store.queries import Connection


@click.group()
def report() -> None:
    """What the books say of a period: the present month where nothing is said."""


def _title(what: str, scope: Scope) -> str:
    days = describe_days(Period(scope.since, scope.until), scope.zone)
    return f"{what} of {scope.entity_id}, {days} ({scope.zone})"


async def _start(connection: Connection, asked: Asked, name: str) -> tuple[Scope, CutOff]:
    scope = await find_scope(connection, asked, clock.now())
    return scope, await draw_cut_off(connection, f"report {name}")


@report.command()
@period_options
@click.option("--by", default="tier", show_default=True, help="tier, customer, agent, model.")
@json_option
@database_options
def margin(database: Database, asked: Asked, by: str, as_json: bool) -> None:
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
    title = f"{_title('Margin', scope)}, amounts in {found.currency}"
    numbers = len(margin_text.HEADERS)
    print_table(title, headers, rows, numbers=numbers, first=margin_text.FIRST)
    if found.missing is not None:
        click.echo(f"Cost and margin are unknown. {found.missing}", err=True)


@report.command()
@period_options
@click.option("--by", default="model", show_default=True, help="model or scope.")
@json_option
@database_options
def energy(database: Database, asked: Asked, by: str, as_json: bool) -> None:
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
    print_table(_title("Energy", scope), headers, rows, numbers=len(headers) - 1)
    for line in findings.to_lines(found.findings):
        click.echo(line)


@report.command()
@period_options
@click.option(
    "--by",
    default="customer,model,tier",
    show_default=True,
    help=f"Of {', '.join(usage_room.DIMENSIONS)}; window, hour or day.",
)
@click.option("--customer", "customer_id", help="Only this customer.")
@json_option
@database_options
def usage(
    database: Database, asked: Asked, by: str, customer_id: str | None, as_json: bool
) -> None:
    """Requests and tokens, grouped as asked."""

    async def read(connection: Connection) -> tuple[Scope, usage_room.UsageReport]:
        scope, cut_off = await _start(connection, asked, "usage")
        return scope, await usage_room.usage_report(
            connection,
            since=scope.since,
            until=scope.until,
            cut_off=cut_off,
            by=_names(by),
            zone_name=scope.zone,
            of=usage_room.UsageOf(scope.entity_id, customer_id),
        )

    scope, found = database.run(read)
    if as_json:
        print_json(usage_room.to_json(found))
        return
    headers, rows = usage_room.to_table(found)
    first = (*found.by, "input", "output", "requests")
    print_table(_title("Usage", scope), headers, rows, numbers=9, first=first)


@report.command()
@period_options
@json_option
@database_options
def coverage(database: Database, asked: Asked, as_json: bool) -> None:
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
    print_table(_title("Energy coverage", scope), columns, rows, numbers=2)
    served = f"{found.usage.claimed_tokens:,} of {found.usage.tokens:,}"
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
        title = _title("Engines beside events, tokens,", scope)
        print_table(title, columns, rows, numbers=6, first=first)
    else:
        click.echo("Engines: none sent its counters, so nothing stands beside the events.")


def _names(by: str) -> Sequence[str]:
    return tuple(name.strip() for name in by.split(",") if name.strip())
