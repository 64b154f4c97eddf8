"""What people said about tax, by time, and the tax lines of invoices."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ledger.domain.billing.tax import (
    DatedTaxTerms,
    Registration,
    TaxKey,
    TaxLine,
    TaxRate,
    TaxRules,
    TaxTerms,
    Treatment,
)
from ledger.store.copying import copy_rows
from ledger.store.dated import DatedTable
from ledger.store.queries import Connection, load_queries

TAX = load_queries("billing/tax")
TAX_COLUMNS = (
    *("invoice_id", "line_no", "customer_id", "country", "treatment"),
    *("percent", "included", "reason", "base", "amount"),
)


def _table(noun: str, name: str, *keys: str) -> DatedTable:
    queries = (TAX[f"find_open_{name}s"], TAX[f"supersede_{name}s"], TAX[f"insert_{name}"])
    return DatedTable(noun, keys, *queries)


RATES = _table("tax rate", "tax_rate", "country", "kind")
REGISTRATIONS = _table("tax registration", "tax_registration", "entity_id", "country")
TREATMENTS = _table("tax treatment", "tax_treatment", "customer_id")


async def find_rules(
    connection: Connection, *, entity_id: str, customers: Iterable[str], batch_seq: int
) -> dict[str, TaxRules]:
    """Everything said about the tax of customers of an entity, as known at a cut-off, by
    customer."""
    registered = await TAX["list_registrations"].values(
        connection, Registration, entity_id=entity_id, batch_seq=batch_seq
    )
    treated: dict[str, list[DatedTaxTerms]] = {customer_id: [] for customer_id in customers}
    rows = await TAX["list_treatments"].rows(
        connection, customers=list(treated), batch_seq=batch_seq
    )
    for row in rows:
        terms = TaxTerms(
            row["country"], Treatment(row["treatment"]), row["included"], row["reason"]
        )
        treated[row["customer_id"]].append(DatedTaxTerms(terms, row["valid_from"], row["valid_to"]))
    countries = sorted({row["country"] for row in rows})
    rates = await TAX["list_rates"].values(
        connection, TaxRate, countries=countries, batch_seq=batch_seq
    )
    return {name: TaxRules(registered, terms, rates) for name, terms in treated.items()}


async def insert_tax_lines(
    connection: Connection, taxed: Iterable[tuple[int, str, Sequence[TaxLine]]]
) -> None:
    """Store the tax of invoices (id, customer, lines), numbered from 1."""
    rows = [
        (
            *(invoice_id, line_no, customer_id, line.key.country, str(line.key.treatment)),
            *(line.key.percent, line.key.included, line.key.reason, line.base, line.amount),
        )
        for invoice_id, customer_id, lines in taxed
        for line_no, line in enumerate(lines, start=1)
    ]
    if rows:
        await copy_rows(connection, "invoice_tax", TAX_COLUMNS, rows)


async def list_tax_lines(
    connection: Connection, invoice_ids: Sequence[int]
) -> Mapping[int, tuple[TaxLine, ...]]:
    """The tax of invoices by their id; none for one without."""
    lines: dict[int, list[TaxLine]] = defaultdict(list)
    for row in await TAX["list_tax_lines"].rows(connection, invoice_ids=list(invoice_ids)):
        key = TaxKey(
            country=row["country"],
            treatment=Treatment(row["treatment"]),
            percent=row["percent"],
            included=row["included"],
            reason=row["reason"],
        )
        lines[row["invoice_id"]].append(TaxLine(key, row["base"], row["amount"]))
    return {invoice_id: tuple(lines[invoice_id]) for invoice_id in invoice_ids}
