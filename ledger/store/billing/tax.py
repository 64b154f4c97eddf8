"""What people said about tax, by time, and the tax lines of invoices."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

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
from ledger.store.dated import DatedTable
from ledger.store.queries import Connection, load_queries

TAX = load_queries("billing/tax")


def _table(noun: str, name: str, *keys: str) -> DatedTable:
    queries = (TAX[f"find_open_{name}s"], TAX[f"supersede_{name}s"], TAX[f"insert_{name}"])
    return DatedTable(noun, keys, *queries)


RATES = _table("tax rate", "tax_rate", "country", "kind")
REGISTRATIONS = _table("tax registration", "tax_registration", "entity_id", "country")
TREATMENTS = _table("tax treatment", "tax_treatment", "customer_id")


async def find_rules(
    connection: Connection, *, entity_id: str, customer_id: str, batch_seq: int
) -> TaxRules:
    """Everything said about the tax of a customer of an entity, as known at a cut-off."""
    registered = await TAX["list_registrations"].rows(
        connection, entity_id=entity_id, batch_seq=batch_seq
    )
    treated = await TAX["list_treatments"].rows(
        connection, customer_id=customer_id, batch_seq=batch_seq
    )
    countries = sorted({row["country"] for row in treated})
    rates = await TAX["list_rates"].rows(connection, countries=countries, batch_seq=batch_seq)
    return TaxRules(
        registrations=[Registration(**dict(row)) for row in registered],
        terms=[
            DatedTaxTerms(
                TaxTerms(
                    row["country"], Treatment(row["treatment"]), row["included"], row["reason"]
                ),
                row["valid_from"],
                row["valid_to"],
            )
            for row in treated
        ],
        rates=[TaxRate(**dict(row)) for row in rates],
    )


async def insert_tax_lines(
    connection: Connection, *, invoice_id: int, customer_id: str, lines: Sequence[TaxLine]
) -> None:
    """Store the tax of an invoice, numbered from 1."""
    keys = [line.key for line in lines]
    await TAX["insert_tax_lines"].run(
        connection,
        invoice_id=invoice_id,
        customer_id=customer_id,
        line_nos=list(range(1, len(lines) + 1)),
        countries=[key.country for key in keys],
        treatments=[str(key.treatment) for key in keys],
        percents=[key.percent for key in keys],
        included=[key.included for key in keys],
        reasons=[key.reason for key in keys],
        bases=[line.base for line in lines],
        amounts=[line.amount for line in lines],
    )


async def list_tax_lines(
    connection: Connection, invoice_ids: Sequence[int]
) -> Mapping[int, tuple[TaxLine, ...]]:
    """The tax of invoices by their id; none for one without."""
    found: dict[int, list[TaxLine]] = defaultdict(list)
    for row in await TAX["list_tax_lines"].rows(connection, invoice_ids=list(invoice_ids)):
        key = TaxKey(
            country=row["country"],
            treatment=Treatment(row["treatment"]),
            percent=row["percent"],
            included=row["included"],
            reason=row["reason"],
        )
        found[row["invoice_id"]].append(TaxLine(key, row["base"], row["amount"]))
    return {invoice_id: tuple(found[invoice_id]) for invoice_id in invoice_ids}
