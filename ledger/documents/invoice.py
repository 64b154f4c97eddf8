"""Turns an invoice into words and a PDF: rendered once, the same bytes for the same data."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from hashlib import sha256
from importlib.resources import as_file, files

import typst

from ledger.documents.fonts import compile_shown, families, lacked_by
from ledger.domain.billing.agreement import Party
from ledger.domain.billing.invoice import InvoiceLine
from ledger.domain.billing.issued import Invoice, IssuedLine
from ledger.domain.billing.tax import TaxLine, describe_tax
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import plain
from ledger.domain.period import describe_days
from ledger.domain.pricing.price_model import Basis, PeriodUse, PriceModel
from ledger.domain.pricing.rate_card import BAND_EDGES, PERIOD_METERS

METER_NAMES: Mapping[str, str] = {
    "input_uncached": "Uncached input tokens",
    "input_cache_read": "Cached input tokens",
    "input_cache_write": "Input tokens written to cache",
    "output_visible": "Output tokens",
    "output_reasoning": "Reasoning tokens",
    "fee": "Fee",
    "commitment": "Minimum commitment",
}


def describe(lines: Sequence[InvoiceLine], prices: Mapping[int, PriceModel]) -> list[IssuedLine]:
    """The lines, numbered from 1, with words a reader understands and their prices."""
    return [
        _issued(line_no, line, prices[line.key.price_id])
        for line_no, line in enumerate(lines, start=1)
    ]


def _issued(line_no: int, line: InvoiceLine, price: PriceModel) -> IssuedLine:
    (part,) = [line.part] if line.part else price.parts(PeriodUse(line.quantity))
    return IssuedLine(
        kind=line.kind,
        key=line.key,
        quantity=line.quantity,
        exact_amount=line.exact_amount,
        amount=line.amount,
        part=part,
        line_no=line_no,
        description=_description(line, price),
        unit_amount=part.unit_amount,
        per=part.per,
    )


def printed_parties(seller: Party, buyer: Party, customer_id: str) -> dict[str, dict[str, str]]:
    """What a document says of seller and buyer."""
    return {"seller": _party(seller), "buyer": {**_party(buyer), "id": customer_id}}


def render_pdf(
    invoice: Invoice, lines: Sequence[IssuedLine], *, issued_on: date, is_test: bool
) -> bytes:
    """The invoice as PDF/A; no time or random number goes into it, and no font of this machine
    unless a name needs a sign that the fonts of packages lack.

    InvalidInputError where no font has a sign.
    """
    return compile_document("invoice.typ", _content(invoice, lines, issued_on, is_test))


def _content(
    invoice: Invoice, lines: Sequence[IssuedLine], issued_on: date, is_test: bool
) -> dict[str, object]:
    terms, totals = invoice.terms, invoice.totals
    return {
        **printed_parties(invoice.seller, invoice.buyer, invoice.customer_id),
        "zone": terms.zone,
        "currency": terms.currency,
        "payment_days": terms.payment_days,
        "is_test": is_test,
        "exact": plain(totals.exact),
        "rounding": plain(totals.rounding),
        "cut_off": invoice.cut_off_seq,
        "rate_card": terms.rate_card_name,
        "number": invoice.number,
        "issued_on": issued_on.isoformat(),
        "issued": [issued_on.year, issued_on.month, issued_on.day],
        "due_on": invoice.due_on.isoformat(),
        "service": describe_days(invoice.period, terms.zone),
        "lines": [printed_line(line, terms.zone) for line in lines],
        "net": group(plain(totals.net)),
        "tax": group(plain(totals.tax)),
        "payable": group(plain(totals.payable)),
        "gives_back": totals.gives_back,
        "taxes": [printed_tax(line) for line in invoice.taxes],
        "included": totals.included != 0,
        "has_adjustments": any(line.kind == "adjustment" for line in lines),
    }


def compile_document(template: str, content: Mapping[str, object]) -> bytes:
    """A template of this folder with its content, and the digest of that, as PDF/A.

    InvalidInputError where no font has a sign.
    """
    said = json.dumps(content, ensure_ascii=False, sort_keys=True)
    content = {**content, "digest": sha256(said.encode()).hexdigest()}
    with as_file(files("ledger.documents") / template) as path:
        return _compile(str(path), content)


def _compile(template: str, content: Mapping[str, object]) -> bytes:
    written = json.dumps(content, ensure_ascii=False)
    inputs = {"invoice": written, "fonts": json.dumps(families(written))}
    try:
        return compile_shown(template, inputs)
    except typst.TypstError as error:
        sign = lacked_by(error)
        if sign is None:
            raise
        raise no_font_for([("the document", sign)]) from error


def no_font_for(lacking: Sequence[tuple[str, str]]) -> InvalidInputError:
    """The refusal of a document whose signs no font shows: (where, sign) each."""
    where = ", ".join(f"{sign!r} in {name}" for name, sign in lacking)
    return InvalidInputError(
        f"No font here shows {where}, and an invoice with boxes would be one for good.",
        "Install tokenledger[documents] or a font that has it, or change what is written.",
    )


def group(number: str) -> str:
    """Digits of the whole part in threes, with thin spaces."""
    sign, digits = ("\u2212", number[1:]) if number.startswith("-") else ("", number)
    whole, dot, rest = digits.partition(".")
    return f"{sign}{int(whole):,}".replace(",", "\u2009") + dot + rest


def _description(line: InvoiceLine, price: PriceModel) -> str:
    key, whole = line.key, price.basis is not Basis.EACH
    if price.basis is Basis.TIME:
        return ", ".join(filter(None, [METER_NAMES[key.meter], key.part]))
    parts = [METER_NAMES[key.meter], key.model or ("all models" if whole else "no model named")]
    parts += [
        f"{name} {value}" for name, value in (("tier", key.tier), ("adapter", key.adapter)) if value
    ]
    if key.region:
        parts.append(f"region {key.region}")
    if key.context_band:
        parts.append(f"context above {BAND_EDGES[key.context_band]:,} tokens")
    if key.part:
        parts.append(key.part)
    return ", ".join(parts)


def _party(party: Party) -> dict[str, str]:
    return {"name": party.name, "address": party.address, "tax_number": party.tax_number}


def printed_line(line: IssuedLine, zone_name: str) -> dict[str, str]:
    """A line as a document says it."""
    text, _, where = line.description.partition(", ")
    if line.kind == "adjustment":
        text = f"Adjustment of {describe_days(line.key.service_period, zone_name)}: {text}"
    return {
        "what": text,
        "where": where,
        "quantity": group(str(line.quantity)),
        "price": group(plain(line.unit_amount)),
        "per": _per(line),
        "amount": group(plain(line.amount)),
    }


def printed_tax(line: TaxLine) -> dict[str, str]:
    """A line of tax as a document says it."""
    return {
        "what": describe_tax(line),
        "base": group(plain(line.base)),
        "amount": group(plain(line.amount)),
        "reason": line.key.reason if line.key.percent else "",
    }


def _per(line: IssuedLine) -> str:
    units = line.per
    if units == 1 and (line.key.part or line.key.meter in PERIOD_METERS):
        return "one"
    names = {1: "token", 1_000: "1,000 tokens", 1_000_000: "1M tokens"}
    return names.get(units, f"{units:,} tokens")
