"""`tokenledger report`: every report of the table, for people or with --json."""

import sys
from collections.abc import Callable
from typing import TypeVar

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_json, print_table
from ledger.commands.groups import group
from ledger.commands.review.grouped import grouped_command
from ledger.commands.review.receivables import receivables
from ledger.commands.run.periods import AskedPeriod, Scope, describe, find_scope, period_options
from ledger.commands.serve.database import Database, database_options
from ledger.reports.grouped import GroupedReport
from ledger.reports.items_csv import items_csv
from ledger.reports.report import Asked, PeriodReport, ReportTable, Shown, Warned
from ledger.reports.table import REPORTS
from ledger.store.queries import Connection

R = TypeVar("R")


@group()
def report() -> None:
    """What the books say of a period: the present month where nothing is said."""


# Of a day, not of a period.
report.add_command(receivables)


def period_command(about: PeriodReport[R]) -> click.Command:
    """The command of a report of a period."""

    @period_options
    @json_option
    @database_options
    def command(
        database: Database,
        *,
        asked: AskedPeriod,
        as_json: bool,
        as_csv: bool = False,
        **options: str,
    ) -> None:
        if as_csv and as_json:
            raise click.UsageError("--csv and --json are two forms of one report")

        async def read(connection: Connection) -> tuple[Scope, Asked, R]:
            scope = await find_scope(connection, asked, clock.now(), about.usual)
            question = Asked(options, zone_name=scope.zone)
            answered = await about.at_once(
                connection,
                entity_id=scope.entity_id,
                period=(scope.since, scope.until),
                asked=question,
                purpose=f"report {about.name}",
            )
            return scope, question, answered

        scope, question, answered = database.run(read)
        if as_json:
            print_json(about.to_json(answered))
        elif as_csv and about.csv:
            sys.stdout.write(items_csv(about.csv(about.to_json(answered))))
        else:
            for each in about.show(answered, question):
                _print(each, scope)

    return click.command(about.name, help=about.about)(_with_options(about, command))


def _with_options(about: PeriodReport[R], command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes the report's own options as well."""
    if about.csv:
        command = click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")(command)
    for option in reversed(about.options):
        name = f"--{option.name.replace('_', '-')}"
        shown = bool(option.default)
        given = click.option(name, default=option.default, show_default=shown, help=option.about)
        command = given(command)
    return command


def _print(shown: Shown, scope: Scope) -> None:
    if isinstance(shown, Warned):
        click.echo(shown.text, err=True)
    elif isinstance(shown, ReportTable):
        title = f"{describe(shown.title, scope)}{shown.behind}"
        print_table(title, shown.columns, shown.rows, numbers=shown.numbers, first=shown.first)
    else:
        click.echo(shown)


for described in REPORTS:
    if isinstance(described, GroupedReport):
        report.add_command(grouped_command(described))
    else:
        report.add_command(period_command(described))
