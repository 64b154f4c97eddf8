"""What customers owe by how long it has been due, what they have on account, and which invoices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from ledger.domain.billing.dunning import LastReminder
from ledger.domain.billing.receivable import Ageing, OpenItem, age_of, ageing
from ledger.domain.money import round_minor
from ledger.store.billing.dunning import list_last_reminders
from ledger.store.billing.receivables import list_open_items, sum_on_account
from ledger.store.queries import Connection


@dataclass(frozen=True, slots=True)
class ReceivablesReport:
    """Open invoices as of a day, by customer and one by one."""

    today: date
    customers: Sequence[Ageing]
    invoices: Sequence[OpenItem]
    reminders: Mapping[int, LastReminder]


async def receivables_report(
    connection: Connection, *, entity_id: str, today: date
) -> ReceivablesReport:
    """What is open now of an entity's invoices, as old as it is on `today`."""
    items = await list_open_items(connection, entity_id=entity_id)
    held = await sum_on_account(connection, entity_id=entity_id)
    reminders = await list_last_reminders(connection, entity_id)
    return ReceivablesReport(today, ageing(items, held, today), items, reminders)


def to_json(report: ReceivablesReport) -> dict[str, object]:
    """Everything in it; amounts beside their currency."""
    return {
        "today": report.today,
        "customers": [
            {
                "customer_id": owing.customer_id,
                "currency": owing.currency,
                **owing.buckets,
                "owed": owing.owed,
                "on_account": owing.on_account,
                "disputed": owing.disputed,
            }
            for owing in report.customers
        ],
        "invoices": [
            {
                "number": item.number,
                "customer_id": item.customer_id,
                "currency": item.currency,
                "issued_on": item.issued_on,
                "due_on": item.due_on,
                "payable": item.payable,
                "credited": round_minor(item.credited, item.currency),
                "paid": round_minor(item.paid, item.currency),
                "open": item.open,
                "age": age_of(item, report.today),
                "disputed": item.is_disputed,
                **_reminded(report.reminders.get(item.invoice_id)),
            }
            for item in report.invoices
        ],
    }


def _reminded(last: LastReminder | None) -> dict[str, object]:
    return {
        "reminders": last.level if last else 0,
        "reminded_on": last.written_on if last else None,
    }
