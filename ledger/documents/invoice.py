"""Turns an invoice into words and a PDF: rendered once, the same bytes for the same data."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from hashlib import sha256
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal

import typst

from ledger.domain.invoice import InvoiceLine
from ledger.domain.money import plain
from ledger.domain.period import Period, describe_days
from ledger.domain.prices import PriceModel
from ledger.domain.rate_card import BAND_EDGES

ATTEMPTS: tuple[tuple[bool, Literal["a-3b", "1.7"]], ...] = (
    (True, "a-3b"),
    (False, "a-3b"),
    (False, "1.7"),
)
METER_NAMES: Mapping[str, str] = {
    "input_uncached": "Input tokens, not cached",
    "input_cache_read": "Input tokens read from cache",
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
    unless a name needs a sign that typst's own fonts lack.
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
        return _compile(template, json.dumps(content, ensure_ascii=False))


def _compile(template: Path, content: str) -> bytes:
    # PDF/A shows every sign or is refused. A name in a script that typst's own fonts lack is set in
    # this machine's fonts; where those lack it too an invoice still goes out, as plain PDF.
    for ignore_system_fonts, standard in ATTEMPTS:
        try:
            return bytes(
                typst.compile(
                    str(template),
                    format="pdf",
                    sys_inputs={"invoice": content},
                    pdf_standards=standard,
                    ignore_system_fonts=ignore_system_fonts,
                    timestamp=0,
                )
            )
        except typst.TypstError as error:
            if "could not be displayed" not in str(error):
                raise
    raise AssertionError("plain PDF shows a box for what no font has")


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
