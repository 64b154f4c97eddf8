"""Turns an invoice into words and a PDF: rendered once, the same bytes for the same data."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from hashlib import sha256
from importlib.resources import as_file, files
from typing import Any

import typst

from ledger.documents.fonts import compile_shown, families, lacked_by
from ledger.domain.billing.invoice import InvoiceLine
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import plain
from ledger.domain.period import Period, describe_days
from ledger.domain.pricing.models import PriceModel
from ledger.domain.pricing.rate_card import BAND_EDGES

METER_NAMES: Mapping[str, str] = {
    "input_uncached": "Uncached input tokens",
    "input_cache_read": "Cached input tokens",
    "input_cache_write": "Input tokens written to cache",
    "output_visible": "Output tokens",
    "output_reasoning": "Reasoning tokens",
}


def describe(line: InvoiceLine, price: PriceModel) -> dict[str, Any]:
    """The columns of an invoice line, with a description a reader understands."""
    key = line.key
    return {
        "kind": line.kind,
        "service_start": key.service_start,
        "service_end": key.service_end,
        "model": key.model,
        "tier": key.tier,
        "adapter": key.adapter,
        "region": key.region,
        "context_band": key.context_band,
        "meter": key.meter,
        "price_id": key.price_id,
        "description": _description(line),
        "quantity": line.quantity,
        "unit_amount": price.amount,
        "per": price.per,
        "exact_amount": line.exact_amount,
        "amount": line.amount,
    }


def render_pdf(
    *,
    number: str,
    issued_on: date,
    due_on: date,
    draft: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
) -> bytes:
    """The invoice as PDF/A; no time or random number goes into it, and no font of this machine
    unless a name needs a sign that the fonts of packages lack.

    InvalidInputError where no font has a sign.
    """
    content = {
        **{name: value for name, value in draft.items() if name != "period"},
        "number": number,
        "issued_on": issued_on.isoformat(),
        "issued": [issued_on.year, issued_on.month, issued_on.day],
        "due_on": due_on.isoformat(),
        "service": describe_days(draft["period"], draft["zone"]),
        "lines": [_printed(line, draft["zone"]) for line in lines],
        "net": group(draft["net"]),
        "tax": group(draft["tax"]),
        "payable": group(draft["payable"]),
        "has_tax": Decimal(draft["tax"]) != 0,
        "has_adjustments": any(line["kind"] == "adjustment" for line in lines),
    }
    written = json.dumps(content, ensure_ascii=False, sort_keys=True)
    content["digest"] = sha256(written.encode()).hexdigest()
    with as_file(files("ledger.documents") / "invoice.typ") as template:
        return _compile(str(template), content)


def _compile(template: str, content: Mapping[str, Any]) -> bytes:
    written = json.dumps(content, ensure_ascii=False)
    inputs = {"invoice": written, "fonts": json.dumps(families(written))}
    try:
        return compile_shown(template, inputs)
    except typst.TypstError as error:
        sign = lacked_by(error)
        if sign is None:
            raise
        raise no_font_for([("the invoice", sign)]) from error


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


def _description(line: InvoiceLine) -> str:
    key = line.key
    parts = [METER_NAMES[key.meter], key.model or "no model named"]
    parts += [
        f"{name} {value}" for name, value in (("tier", key.tier), ("adapter", key.adapter)) if value
    ]
    if key.region:
        parts.append(f"region {key.region}")
    if key.context_band:
        parts.append(f"context above {BAND_EDGES[key.context_band]:,} tokens")
    return ", ".join(parts)


def _printed(line: Mapping[str, Any], zone_name: str) -> dict[str, str]:
    text, _, where = str(line["description"]).partition(", ")
    if line["kind"] == "adjustment":
        period = Period(line["service_start"], line["service_end"])
        text = f"Adjustment of {describe_days(period, zone_name)}: {text}"
    return {
        "what": text,
        "where": where,
        "quantity": group(str(line["quantity"])),
        "price": group(plain(line["unit_amount"])),
        "per": _per(line["per"]),
        "amount": group(plain(line["amount"])),
    }


def _per(units: int) -> str:
    names = {1: "token", 1_000: "1,000 tokens", 1_000_000: "1M tokens"}
    return names.get(units, f"{units:,} tokens")
