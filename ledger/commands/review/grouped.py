"""`tokenledger report usage` and `report charges`: as many rows as there are, in little memory."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_table
from ledger.commands.run.periods import AskedPeriod, Scope, describe, find_scope, period_options
from ledger.commands.serve.database import Database, database_options
from ledger.domain.period import zone
from ledger.reports.grouped import STEPS, GroupedReport, GroupedTable, Grouping, Said, Totals
from ledger.reports.stream import snapshot, written
from ledger.store.connect import draw_cut_off
from ledger.store.grouped import Group
from ledger.store.queries import Connection
from ledger.wire.plain import plain_value
from ledger.wire.rfc3339 import format_rfc3339, parse_rfc3339

# A table for people; programs and spreadsheets get all of it.
TABLE_ROWS = 1_000


def grouped_command(report: GroupedReport) -> click.Command:
    """The command of a grouped report."""

    @click.command(report.name, help=report.about)
    @period_options
    @click.option(
        "--by",
        default=report.by,
        show_default=True,
        help=f"Of {', '.join(report.dimensions)}; {', '.join(STEPS)}.",
    )
    @click.option("--customer", "customer_id", help="Only this customer.")
    @click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
    @click.option("--raw", is_flag=True, help="Text as it is, for programs.")
    @json_option
    @database_options
    def command(
        database: Database,
        *,
        asked: AskedPeriod,
        by: str,
        customer_id: str | None,
        as_csv: bool,
        raw: bool,
        as_json: bool,
    ) -> None:
        if as_csv and as_json:
            raise click.UsageError("--csv and --json are two forms of one report")

        async def show(connection: Connection) -> None:
            scope = await find_scope(connection, asked, clock.now())
            names = report.names(by)
            cut_off = await draw_cut_off(connection, f"report {report.name}")
            grouping = Grouping(
                *(report, names, scope.since, scope.until, cut_off),
                *(scope.entity_id, customer_id, scope.zone),
            )
            async with snapshot(connection):
                if as_csv:
                    async for part in grouping.csv(connection, raw=raw):
                        sys.stdout.buffer.write(part)
                elif as_json:
                    await _print_json(connection, grouping)
                else:
                    await _print_table(connection, grouping, scope)

        database.run(show)

    return command


async def _print_json(connection: Connection, grouping: Grouping) -> None:
    totals = Totals(grouping.report)
    asked = grouping.asked() | await grouping.state(connection)
    sys.stdout.write(f'{_json(asked)[:-1]}, "items": [')
    between = "\n"
    async for part in written(grouping.pages(connection), partial(_json_lines, grouping, totals)):
        sys.stdout.write(between + part.decode())
        between = ",\n"
    end = ({} if grouping.report.more else {"total": totals.said()[0]}) | {"next": None}
    sys.stdout.write(f"\n], {_json(end)[1:]}\n")


def _json_lines(grouping: Grouping, totals: Totals, page: Sequence[Group]) -> Iterator[str]:
    totals.add(page)
    yield ",\n".join(_json(grouping.say(row)) for row in page)


def _json(value: object) -> str:
    return json.dumps(plain_value(value), ensure_ascii=False)


async def _print_table(connection: Connection, grouping: Grouping, scope: Scope) -> None:
    shown, totals, count = grouping.report.shown, Totals(grouping.report), 0
    rows: list[Said] = []
    async for page in grouping.pages(connection):
        totals.add(page)
        count += len(page)
        rows += [grouping.say(row) for row in islice(page, max(TABLE_ROWS - len(rows), 0))]
    cells = [(*_group(said, grouping), *_cells(said, shown)) for said in rows]
    blank = ("",) * max(len(grouping.by) - 1, 0)
    if grouping.by:
        cells += [("total", *blank, *_cells(said, shown)) for said in totals.said()]
    headers = (*grouping.by, *shown.headers)
    first = (*grouping.by, *shown.first)
    numbers = len(shown.headers) - len(grouping.report.more)
    print_table(describe(shown.title, scope), headers, cells, numbers=numbers, first=first)
    state = await grouping.state(connection)
    if "rated_to" in state:
        click.echo(_rated(state["rated_to"]))
    if count > len(rows):
        click.echo(f"{len(rows):,} of {count:,} rows; --csv and --json print all.", err=True)


def _rated(rated_to: datetime | None) -> str:
    if rated_to is None:
        return "Nothing is rated yet."
    return f"What was stored after {format_rfc3339(rated_to)} is not rated yet."


def _group(said: Said, grouping: Grouping) -> Iterable[str]:
    """The group with its time, if it has one, in the report's zone."""
    for name in grouping.by:
        if name in STEPS:
            local = parse_rfc3339(said[name]).astimezone(zone(grouping.zone_name))
            # The offset tells the two passes of a repeated hour apart.
            yield f"{local:%F}" if name == "day" else f"{local.isoformat(' ', 'minutes')}"
        else:
            yield said[name]


def _cells(said: Said, shown: GroupedTable) -> Iterable[Any]:
    return [shown.absent if said[name] is None else said[name] for name in shown.names]
