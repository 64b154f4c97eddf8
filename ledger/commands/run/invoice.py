"""`tokenledger invoice`: preview, issue, list, and the document as it went out."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from decimal import Decimal, DecimalException
from pathlib import Path

import click

from ledger import clock
from ledger.api.shapes import described, list_adjustments, show_draft
from ledger.commands.data.show import json_option, print_items, print_json, print_table, say
from ledger.commands.groups import group
from ledger.commands.run.invoice_run import allow_open, allow_unpriced, at_option, moment_of, run
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.documents.invoice import no_font_for
from ledger.documents.invoice_json import adjustment_json, invoice_json
from ledger.domain.billing.issued import PDF, SUFFIXES, XML, IssuedLine, StoredInvoice
from ledger.domain.billing.tax import describe_tax
from ledger.domain.errors import NotFoundError
from ledger.domain.exchange import Conversion
from ledger.domain.metering.usage_mark import describe_marks
from ledger.domain.period import describe_days
from ledger.exports.filenames import file_name
from ledger.flows.billing import invoice as flow
from ledger.flows.billing.credit import IssuedCredit, credit_invoice
from ledger.flows.billing.document import find_or_render
from ledger.flows.billing.draft_invoice import InvoiceDraft
from ledger.flows.billing.issue import IssueRules, lacking_signs
from ledger.flows.billing.trace import find_invoice
from ledger.store.billing.invoice import list_invoices
from ledger.store.billing.receivables import find_credit_document
from ledger.store.queries import Connection
from ledger.wire.inputs import read_input
from ledger.wire.receivable_inputs import CreditAsk


@group()
def invoice() -> None:
    """What customers owe, by billing period of their subscription."""


invoice.add_command(run)


@invoice.command()
@click.argument("subscription_id")
@at_option
@json_option
@database_options
def preview(database: Database, subscription_id: str, at: str | None, as_json: bool) -> None:
    """Show the invoice of a billing period as it would be issued now."""
    moment = moment_of(at)
    draft = database.run(
        lambda connection: flow.preview_invoice(
            connection, subscription_id=subscription_id, moment=moment, now=clock.now()
        )
    )
    if as_json:
        print_json(show_draft(draft))
    else:
        _show_draft(draft)


@invoice.command()
@click.argument("subscription_id")
@at_option
@allow_unpriced
@allow_open
@click.option("--supplementary", is_flag=True, help="Bill what is new since the last invoice.")
@click.option("--reason", help="Kept with the invoice; needed where its month is closed.")
@json_option
@database_options
def issue(
    database: Database,
    *,
    subscription_id: str,
    at: str | None,
    reason: str | None,
    as_json: bool,
    **allowed: bool,
) -> None:
    """Issue the invoice of a billing period; once issued it never changes."""
    moment, author = moment_of(at), author_of(reason, "issued on the command line")
    issued = database.run(
        lambda connection: flow.issue_invoice(
            connection,
            subscription_id=subscription_id,
            moment=moment,
            now=clock.now(),
            author=author,
            allow=IssueRules(**allowed),
        )
    )
    if as_json:
        print_items([issued])
        return
    rows = [(issued.invoice_id, issued.number, issued.currency, issued.net_total, issued.payable)]
    print_table("Issued", ("id", "number", "currency", "net", "payable"), rows, numbers=2)


@invoice.command("list")
@click.option("--entity", "entity_id", help="Only of this entity.")
@click.option("--customer", "customer_id", help="Only of this customer.")
@json_option
@database_options
def list_(
    database: Database, entity_id: str | None, customer_id: str | None, as_json: bool
) -> None:
    """List invoices, newest first."""
    rows = database.run(
        lambda connection: list_invoices(connection, entity_id=entity_id, customer_id=customer_id)
    )
    if as_json:
        print_items([invoice_json(row) for row in rows])
        return
    _show_listed(rows)


@invoice.command()
@click.argument("number")
@click.option("--output", type=click.Path(path_type=Path), help="By default NUMBER.pdf, here.")
@database_options
def pdf(database: Database, number: str, output: Path | None) -> None:
    """Write the PDF of an invoice, by its number or id, as it went out."""
    _write(database.run(lambda connection: _document(connection, number, PDF)), number, PDF, output)


@invoice.command()
@click.argument("number")
@click.option("--output", type=click.Path(path_type=Path), help="By default NUMBER.xml, here.")
@database_options
def xml(database: Database, number: str, output: Path | None) -> None:
    """Write the electronic invoice (UBL) of a number or id, as it went out."""
    _write(database.run(lambda connection: _document(connection, number, XML)), number, XML, output)


@invoice.command()
@click.argument("number")
@click.option("--line", "lines", multiple=True, metavar="NO=AMOUNT", help="By default all of it.")
@click.option("--reason", required=True, help="Why; it stands on the credit note.")
@json_option
@database_options
def credit(
    database: Database, *, number: str, lines: tuple[str, ...], reason: str, as_json: bool
) -> None:
    """Credit some or all of an invoice, by its number or id, by a document of its own."""
    issued = _credit(database, number, {"reason": reason, "lines": list(map(_credited, lines))})
    if as_json:
        print_json(asdict(issued))
        return
    click.echo(f"Credited {issued.payable:f} {issued.currency} of {issued.invoice}", nl=False)
    say(f" by {issued.number}; {issued.on_account:f} of it is on account.")


def _credit(database: Database, number: str, said: Mapping[str, object]) -> IssuedCredit:
    ask = read_input(CreditAsk, said)
    author = author_of(ask.reason)
    return database.run(
        lambda connection: credit_invoice(
            connection,
            named=number,
            lines=ask.amounts,
            void=ask.void,
            now=clock.now(),
            author=author,
        )
    )


def _credited(text: str) -> dict[str, object]:
    line_no, _, amount = text.partition("=")
    if not line_no.isascii() or not line_no.isdigit():
        raise click.BadParameter(f"{text!r} is not NO=AMOUNT, like 1=4.95", param_hint="--line")
    try:
        return {"line_no": int(line_no), "amount": Decimal(amount)}
    except DecimalException:
        raise click.BadParameter(f"{amount!r} is no amount", param_hint="--line") from None


@invoice.command()
@click.argument("number")
@click.option("--reason", required=True, help="Why; it stands on the credit note.")
@json_option
@database_options
def void(database: Database, *, number: str, reason: str, as_json: bool) -> None:
    """Take back an invoice as a whole, by its number or id; its period is invoiced anew."""
    issued = _credit(database, number, {"reason": reason, "void": True})
    if as_json:
        print_json(asdict(issued))
        return
    click.echo(f"{issued.invoice} is void by {issued.number}", nl=False)
    click.echo(f" over {issued.payable:f} {issued.currency}; {issued.on_account:f} of it", nl=False)
    say(" is on account. Issue its period again.")


@invoice.command("credit-pdf")
@click.argument("number")
@click.option("--output", type=click.Path(path_type=Path), help="By default NUMBER.pdf, here.")
@database_options
def credit_pdf(database: Database, number: str, output: Path | None) -> None:
    """Write the PDF of a credit note, by its number or id, as it went out."""
    _write(
        database.run(lambda connection: _credit_document(connection, number, PDF)),
        number,
        PDF,
        output,
    )


@invoice.command("credit-xml")
@click.argument("number")
@click.option("--output", type=click.Path(path_type=Path), help="By default NUMBER.xml, here.")
@database_options
def credit_xml(database: Database, number: str, output: Path | None) -> None:
    """Write the electronic credit note (UBL) of a number or id, as it went out."""
    _write(
        database.run(lambda connection: _credit_document(connection, number, XML)),
        number,
        XML,
        output,
    )


@invoice.command()
@click.argument("subscription_id")
@json_option
@database_options
def adjustments(database: Database, subscription_id: str, as_json: bool) -> None:
    """Show what changed about invoiced periods since: lines of the next invoice."""
    pending = database.run(lambda connection: list_adjustments(connection, subscription_id))
    if as_json:
        print_items([adjustment_json(*each) for each in pending])
        return
    currencies = ", ".join(sorted({currency for _, currency in pending}))
    title = f"Pending adjustments, amounts in {currencies or 'no currency'}"
    _show_lines(title, [line for line, _ in pending], "UTC")


async def _document(connection: Connection, number: str, media_type: str) -> bytes:
    return await find_or_render(connection, await find_invoice(connection, number), media_type)


async def _credit_document(connection: Connection, number: str, media_type: str) -> bytes:
    content = await find_credit_document(connection, named=number, media_type=media_type)
    if content is None:
        raise NotFoundError(
            f"There is no credit note {number}, or it went out without a file of {media_type}.",
            "See them: tokenledger list credit-notes.",
        )
    return content


def _write(content: bytes, number: str, media_type: str, output: Path | None) -> None:
    target = output or Path(file_name(number, SUFFIXES[media_type]))
    target.write_bytes(content)
    say(f"Wrote {target}.")


def _show_draft(draft: InvoiceDraft) -> None:
    zone = draft.subscription.zone
    days = f"{describe_days(draft.period, zone)} ({zone})"
    title = f"Invoice to {draft.subscription.customer_id}, {days}, amounts in {draft.currency}"
    _show_lines(title, described(draft), zone)
    _show_rate(draft.exchange)
    if draft.is_billed:
        say("This period is invoiced already: what is above is new since, and its own run.")
    for tax in draft.taxes:
        say(f"{describe_tax(tax)} on {tax.base:f}: {tax.amount:f}")
    for wrong in (draft.uncosted, draft.unconverted, draft.untaxed, draft.incomplete):
        if wrong is not None:
            say(f"Cannot be issued so: {wrong}")
    if draft.unusual is not None:
        say(f"In a run it waits for a person: {draft.unusual}")
    click.echo(f"Net {draft.totals.net:f}, tax {draft.totals.tax:f}, to pay", nl=False)
    say(f" {draft.totals.payable:f} {draft.currency}; exact {draft.totals.exact:f}")
    for each in draft.applied:
        say(f"Grant {each.grant_id} pays {each.amount:f}")
    marked = describe_marks(draft.marks)
    if marked:
        say(f"Not final: {marked}")
    lacking = lacking_signs(draft)
    if lacking:
        say(f"Cannot be issued so: {no_font_for(lacking)}")
    for waits in draft.unpriced:
        say(
            f"Waits for a price: {waits.quantity:,} {waits.meter} of {waits.model}, tier"
            f" {waits.tier}: {waits.reason}"
        )


def _show_rate(rate: Conversion | None) -> None:
    if rate is not None:
        by = f"{rate.source}, {rate.published.isoformat()}"
        say(f"Prices are in {rate.base}: one is {rate.rate} {rate.quote} ({by})")


def _show_lines(title: str, lines: Iterable[IssuedLine], zone: str) -> None:
    rows = [
        (
            *(line.kind, describe_days(line.key.service_period, zone), line.description),
            *(line.quantity, line.unit_amount, line.per, line.exact_amount, line.amount),
        )
        for line in lines
    ]
    columns = ("kind", "of", "what", "quantity", "price", "per", "exact", "amount")
    first = ("amount", "what", "quantity", "price", "kind")
    print_table(title, columns, rows, numbers=5, first=first)


def _show_listed(invoices: Iterable[StoredInvoice]) -> None:
    rows = [
        (
            *(each.number, each.customer_id, each.subscription_id),
            describe_days(each.period, each.terms.zone),
            *(each.issued_at, each.due_on, each.invoice_id, each.terms.currency),
            *(each.totals.net, each.totals.tax, each.totals.payable),
        )
        for each in invoices
    ]
    columns = (
        *("number", "customer", "subscription", "usage of", "issued", "due", "id", "currency"),
        *("net", "tax", "to pay"),
    )
    first = ("to pay", "currency", "customer", "usage of", "due", "net", "tax")
    print_table("Invoices, newest first", columns, rows, numbers=3, first=first)
