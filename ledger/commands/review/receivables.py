"""`tokenledger report receivables`: what customers owe, and for how long."""

from decimal import Decimal

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_json, print_table
from ledger.commands.run.periods import find_asked_entity
from ledger.commands.serve.database import Database, database_options
from ledger.domain.billing.receivable import AGES, OpenItem
from ledger.domain.money import round_minor
from ledger.domain.period import zone
from ledger.reports.billing.receivables import ReceivablesReport, receivables_report, to_json
from ledger.store.queries import Connection


@click.command()
@click.option("--entity", "entity_id", help="Whose invoices; needed where there are several.")
@json_option
@database_options
def receivables(database: Database, entity_id: str | None, as_json: bool) -> None:
    """What is open of invoices, by customer and by how long it has been due."""

    async def read(connection: Connection) -> ReceivablesReport:
        named, zone_name = await find_asked_entity(connection, entity_id)
        today = clock.now().astimezone(zone(zone_name)).date()
        return await receivables_report(connection, entity_id=named, today=today)

    report = database.run(read)
    if as_json:
        print_json(to_json(report))
    else:
        _show(report)


def _show(report: ReceivablesReport) -> None:
    owed = [
        (
            customer.customer_id,
            customer.currency,
            *customer.buckets.values(),
            customer.owed,
            customer.on_account,
            customer.disputed,
        )
        for customer in report.customers
    ]
    ages = [age.replace("_", " ") for age in AGES]
    columns = ("customer", "currency", *ages, "owed", "on account", "disputed")
    first = ("owed", "currency", "on account", "not due")
    title = f"Receivables as of {report.today}"
    print_table(title, columns, owed, numbers=len(AGES) + 3, first=first)
    rows = [
        (
            *(item.number, item.customer_id, item.due_on, item.currency),
            "yes" if item.is_disputed else "",
            *(round_minor(each, item.currency) for each in _amounts(item)),
            _level(report, item),
        )
        for item in report.invoices
    ]
    amounts = ("payable", "credited", "paid", "open", "reminders")
    columns = ("invoice", "customer", "due", "currency", "disputed", *amounts)
    first = ("open", "currency", "due", "customer")
    print_table("Open invoices, those due first", columns, rows, numbers=5, first=first)


def _amounts(item: OpenItem) -> tuple[Decimal, ...]:
    return (item.payable, item.credited, item.paid, item.open)


def _level(report: ReceivablesReport, item: OpenItem) -> int:
    last = report.reminders.get(item.invoice_id)
    return last.level if last else 0
