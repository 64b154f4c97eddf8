"""`tokenledger payment`: statements of banks, and what of them waits for a person."""

from collections.abc import Sequence
from pathlib import Path

import click

from ledger.commands.data.bank_rows import entered
from ledger.commands.data.imports import pairs, read_models, select_rows
from ledger.commands.data.rows import check_columns, read_bytes
from ledger.commands.data.show import counted, json_option, print_json, print_table
from ledger.commands.groups import group
from ledger.commands.options import row_options
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.flows.billing.import_statement import (
    BankOutcome,
    ImportedStatement,
    dismiss_entry,
    import_statement,
    match_by_hand,
    read_statement,
)
from ledger.wire.bank_inputs import BankEntryOwner, NewBankEntry
from ledger.wire.inputs import read_input

BOM = b"\xef\xbb\xbf"


@group()
def payment() -> None:
    """What banks say came and went. Payments are also entered by hand, by `import payments`."""


@payment.command("import")
@row_options
@click.option("--entity", "entity_id", required=True, help="Whose account the statement is of.")
@click.option("--decimal-comma", is_flag=True, help="Amounts of a CSV are written like 1.234,56.")
@json_option
@database_options
def import_(
    database: Database,
    file: Path,
    *,
    entity_id: str,
    decimal_comma: bool,
    mapped: Sequence[str],
    fixed: Sequence[str],
    where: Sequence[str],
    delimiter: str,
    reason: str | None,
    as_json: bool,
) -> None:
    """Take a statement of a bank: CAMT.053, or CSV with the fields of a bank entry as columns.

    Each entry pays what it names, once, in whatever file it comes; the rest waits for a person.
    """
    entries, skipped = _read(file, mapped, fixed, where, delimiter, decimal_comma=decimal_comma)
    author = author_of(reason, f"import of {file.name}")
    done = database.run(
        lambda connection: import_statement(
            connection, entity_id=entity_id, entries=entries, author=author, skipped=skipped
        )
    )
    if as_json:
        print_json(done)
    else:
        _show(done)


@payment.command()
@click.argument("entry_id")
@click.option("--customer", "customer_id", required=True, help="Whose it is.")
@click.option("--invoice", default="", help="The number of what it pays; by default the oldest.")
@click.option("--reason", help="Kept with the payment.")
@json_option
@database_options
def match(
    database: Database,
    *,
    entry_id: str,
    customer_id: str,
    invoice: str,
    reason: str | None,
    as_json: bool,
) -> None:
    """Say whose a bank entry is that waits."""
    owner = read_input(BankEntryOwner, {"customer_id": customer_id, "invoice": invoice})
    author = author_of(reason, "matched on the command line")
    done = database.run(lambda connection: match_by_hand(connection, entry_id, owner, author))
    if as_json:
        print_json(done)
        return
    click.echo(f"Recorded as {', '.join(done.payments)} of {done.customer_id}.")


@payment.command()
@click.argument("entry_id")
@click.option("--reason", required=True, help="Why it is nothing of customers.")
@database_options
def dismiss(database: Database, *, entry_id: str, reason: str) -> None:
    """Say that a bank entry is nothing of customers: a fee, a transfer of one's own."""
    database.run(lambda connection: dismiss_entry(connection, entry_id, author_of(reason)))
    click.echo(f"Bank entry {entry_id} is dismissed.")


def _read(
    file: Path,
    mapped: Sequence[str],
    fixed: Sequence[str],
    where: Sequence[str],
    delimiter: str,
    *,
    decimal_comma: bool,
) -> tuple[list[NewBankEntry], int]:
    content = read_bytes(file)
    if content.removeprefix(BOM).lstrip().startswith(b"<"):
        if mapped or fixed or where:
            raise click.UsageError("--map, --set and --where are for CSV, and this is XML")
        return read_statement(content)
    rows = select_rows(file, delimiter=delimiter, where=where)
    columns = pairs(mapped, "--map")
    check_columns(file, list(rows[0].cells), list(columns.values()))
    rows = [entered(row, columns, decimal_comma=decimal_comma) for row in rows]
    models = read_models(file, rows, NewBankEntry, mapped=columns, fixed=pairs(fixed, "--set"))
    return [model for _, model in models if isinstance(model, NewBankEntry)], 0


def _show(done: ImportedStatement) -> None:
    paid = [each for each in done.outcomes if each.payments]
    waiting = [each for each in done.outcomes if not each.payments]
    click.echo(
        f"{counted(done.taken, 'entry')} taken, {done.known} known before,"
        f" {done.skipped} not booked yet."
    )
    _table("Paid", "payments", [(each, ", ".join(each.payments)) for each in paid])
    _table("Waiting for a person", "why", [(each, each.reason) for each in waiting])


def _table(title: str, last: str, rows: Sequence[tuple[BankOutcome, str]]) -> None:
    if not rows:
        return
    cells = [
        (
            *(each.entry_id, each.customer_id, each.currency, each.amount, each.payer),
            *(each.reference, said),
        )
        for each, said in rows
    ]
    columns = ("entry", "customer", "currency", "amount", "payer", "reference", last)
    print_table(title, columns, cells, first=("amount", "currency", last))
