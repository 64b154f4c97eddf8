"""Turns an invoice into words and a PDF: rendered once, the same bytes for the same data."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from importlib.resources import as_file, files
from types import MappingProxyType

import typst

from ledger.documents.fonts import compile_shown, families, lacked_by
from ledger.documents.logo import logo_inputs
from ledger.documents.summary import LineGroup, day_chart, grouped_lines, units_by_meter
from ledger.documents.words import Words, words_of
from ledger.domain.billing.advance import ADVANCE
from ledger.domain.billing.agreement import Party, Terms
from ledger.domain.billing.invoice import InvoiceLine, LineKey
from ledger.domain.billing.issued import Invoice, IssuedLine
from ledger.domain.billing.tax import RATED, TaxLine
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import EXACT, ROUNDING, minor_digits, plain, round_minor, scale_of
from ledger.domain.period import Period, describe_days
from ledger.domain.pricing.price_model import Basis, PeriodUse, PriceModel, PricePart
from ledger.domain.pricing.rate_card import BAND_EDGES, PERIOD_METERS
from ledger.wire.extras import EXTRAS
from ledger.wire.logo import Logo
from ledger.wire.one_line import written_out

ENGLISH = words_of("en")
NO_DAYS: Mapping[date, Decimal] = MappingProxyType({})
SINGLE = PeriodUse(1)
# What the templates say by themselves.
SAID = (
    *("From", "To", "Tax no.", "Number", "Issued", "Due", "Usage", "Time zone", "Rate card"),
    *("Customer", "Reference", "Reason", "Invoice", "Description", "Quantity", "Unit price"),
    *(
        "Usage of the period",
        "Net",
        "Payable",
        "Paid from credit",
        "Left to pay",
        "Credited",
        "Credit note",
        "CREDIT NOTE",
        "Taken back of",
    ),
    *("TEST: not a demand for payment", "TEST: no money is owed", "Digest of this content"),
)
METER_NAMES: Mapping[str, str] = {
    "input_uncached": "Uncached input tokens",
    "input_cache_read": "Cached input tokens",
    "input_cache_write": "Input tokens written to cache",
    "output_visible": "Output tokens",
    "output_reasoning": "Reasoning tokens",
    "requests": "Requests",
    "input_cache_write_1h": "Input tokens written to cache for an hour",
    "input_audio": "Audio input tokens",
    "input_image": "Image input tokens",
    "input_video": "Video input tokens",
    "input_cache_read_audio": "Cached audio input tokens",
    "output_rejected_prediction": "Rejected prediction tokens",
    "output_audio": "Audio output tokens",
    "output_image": "Image output tokens",
    "web_search_calls": "Web searches",
    "web_search_low_calls": "Web searches of little context",
    "web_search_medium_calls": "Web searches of medium context",
    "web_search_high_calls": "Web searches of much context",
    "web_fetch_calls": "Web pages fetched",
    "tool_calls": "Tool calls",
    "file_search_calls": "File searches",
    "code_interpreter_sessions": "Code interpreter sessions",
    "storage_mb_days": "Megabyte-days of storage",
    "input_pages": "Pages read",
    "input_characters": "Characters read",
    "input_images": "Images read",
    "output_images": "Images made",
    "input_audio_ms": "Milliseconds of audio heard",
    "output_audio_ms": "Milliseconds of audio spoken",
    "input_video_ms": "Milliseconds of video seen",
    "output_video_ms": "Milliseconds of video made",
    "gpu_ms": "Milliseconds of GPU time",
    "fee": "Fee",
    "commitment": "Minimum commitment",
    "discount": "Discount",
    "cost": "Cost plus",
}


def describe(
    lines: Sequence[InvoiceLine], prices: Mapping[int, PriceModel], words: Words = ENGLISH
) -> list[IssuedLine]:
    """The lines, numbered from 1, with words a reader understands and their prices."""
    # Each unit of a line without a part has one amount, which many lines share.
    units = {
        n: prices[n].parts(SINGLE)[0]
        for n in {each.key.price_id for each in lines if not each.part}
    }
    return [
        _issued(line_no, line, line.part or units[line.key.price_id], prices, words)
        for line_no, line in enumerate(lines, start=1)
    ]


def _issued(
    line_no: int,
    line: InvoiceLine,
    part: PricePart,
    prices: Mapping[int, PriceModel],
    words: Words,
) -> IssuedLine:
    return IssuedLine(
        kind=line.kind,
        key=line.key,
        quantity=line.quantity,
        exact_amount=line.exact_amount,
        amount=line.amount,
        charged_amount=line.charged_amount,
        part=line.part,
        line_no=line_no,
        description=_described(line.key, prices[line.key.price_id].basis, words.language),
        # Of what time adds it is a difference of sums, with all of their zeros.
        unit_amount=part.unit_amount.normalize(EXACT) if line.part else part.unit_amount,
        per=part.per,
    )


def printed_parties(seller: Party, buyer: Party, customer_id: str) -> dict[str, dict[str, str]]:
    """What a document says of seller and buyer."""
    return {"seller": _party(seller), "buyer": {**_party(buyer), "id": customer_id}}


def render_pdf(
    invoice: Invoice,
    lines: Sequence[IssuedLine],
    *,
    issued_on: date,
    is_test: bool,
    days: Mapping[date, Decimal] = NO_DAYS,
    logo: Logo | None = None,
) -> bytes:
    """The invoice as PDF/A; no time or random number goes into it, and no font of this machine
    unless a name needs a sign that the fonts of packages lack. `days` is what was charged by day.

    InvalidInputError where no font has a sign.
    """
    content = _content(invoice, lines, issued_on, is_test)
    return compile_document("invoice.typ", content | _usage(invoice, lines, days), logo)


def _usage(
    invoice: Invoice, lines: Sequence[IssuedLine], days: Mapping[date, Decimal]
) -> dict[str, object]:
    terms = invoice.terms
    words = words_of(terms.language)
    groups = grouped_lines(lines, lambda line: printed_line(line, terms, words), words)
    used = units_by_meter(lines)
    return {
        "groups": [_group(each, words) for each in groups],
        "used": [[words.say(METER_NAMES[m]), group(str(n))] for m, n in used.items()],
        "chart": day_chart(days, terms.priced_in, words, group) if used else None,
    }


def _group(each: LineGroup, words: Words) -> dict[str, object]:
    subtotal = each.subtotal
    return {
        "title": each.title,
        "lines": each.lines,
        "subtotal": None if subtotal is None else group(plain(subtotal)),
        "subtotal_of": words.say("Subtotal {what}", what=each.title),
    }


def _content(
    invoice: Invoice, lines: Sequence[IssuedLine], issued_on: date, is_test: bool
) -> dict[str, object]:
    terms, totals = invoice.terms, invoice.totals
    words = words_of(terms.language)
    return {
        **spoken(words, terms.currency),
        "title": words.say("Credit note" if totals.gives_back else "Invoice"),
        "heading": words.say("CREDIT NOTE" if totals.gives_back else "INVOICE"),
        "evidence": words.say(
            "Usage stored up to batch {batch}; unrounded total {total} {currency}.",
            batch=invoice.cut_off_seq,
            total=_exact(totals.exact),
            currency=terms.currency,
        ),
        "to_pay": to_pay(invoice, words),
        "remarks": _remarks(invoice, lines, words),
        "reference": invoice.buyer.buyer_reference,
        **printed_parties(invoice.seller, invoice.buyer, invoice.customer_id),
        "zone": terms.zone,
        "currency": terms.currency,
        "is_test": is_test,
        "rate_card": terms.rate_card_name,
        "number": invoice.number,
        "issued_on": issued_on.isoformat(),
        "issued": [issued_on.year, issued_on.month, issued_on.day],
        "due_on": invoice.due_on.isoformat(),
        "service": printed_days(invoice.period, terms.zone, words),
        "net": group(plain(totals.net)),
        "payable": group(plain(totals.payable)),
        "credit": group(plain(EXACT.minus(invoice.credit))) if invoice.credit else "",
        "left": group(plain(invoice.left_to_pay)),
        "gives_back": totals.gives_back,
        "taxes": [printed_tax(line, words) for line in invoice.taxes],
    }


def spoken(words: Words, currency: str) -> dict[str, object]:
    """What every document says of itself in a language."""
    return {
        "lang": words.language,
        "say": {text: words.say(text) for text in SAID},
        "amount_in": words.say("Amount {currency}", currency=currency),
    }


def to_pay(invoice: Invoice, words: Words) -> list[str]:
    """How and until when what an invoice asks for is paid."""
    seller, terms = invoice.seller, invoice.terms
    if invoice.totals.gives_back:
        return [words.say("This amount is yours: it pays what you owe, or is paid back.")]
    if not invoice.left_to_pay:
        return [words.say("Credit paid all of it: nothing is left to pay.")]
    days, day = terms.payment_days, invoice.due_on.isoformat()
    said = [words.say("Payable within {days} days, by {day}.", days=days, day=day)]
    if seller.payment_account:
        account = seller.payment_account
        text = "Pay to {account}, naming {number}."
        said.append(words.say(text, account=account, number=invoice.number))
    if seller.payment_link:
        said.append(words.say("Pay at {link}.", link=seller.payment_link))
    return said


def _remarks(invoice: Invoice, lines: Sequence[IssuedLine], words: Words) -> list[str]:
    totals, said = invoice.totals, []
    if totals.rounding:
        text = (
            "Each line is rounded once; the difference to the unrounded total is {difference}"
            " {currency}."
        )
        named = {"difference": _exact(totals.rounding), "currency": invoice.terms.currency}
        said.append(words.say(text, **named))
    if invoice.exchange is not None:
        rate = invoice.exchange
        text = "Prices are in {base}: one is {rate} {quote} ({source}, {day})."
        told = {"base": rate.base, "rate": rate.rate, "quote": rate.quote, "source": rate.source}
        said.append(words.say(text, **told, day=rate.published.isoformat()))
    if totals.included:
        said.append(words.say("Prices hold the tax; net is what is left without it."))
    if any(line.kind == "adjustment" for line in lines):
        said.append(
            words.say("Adjustments bill what changed about a period after it was invoiced.")
        )
    return said


def compile_document(
    template: str, content: Mapping[str, object], logo: Logo | None = None
) -> bytes:
    """A template of this folder with its content, and the digest of that, as PDF/A; under a logo.

    InvalidInputError where no font has a sign.
    """
    if logo is not None:
        content = {**content, "logo": sha256(logo.content).hexdigest()}
    said = json.dumps(content, ensure_ascii=False, sort_keys=True)
    content = {**content, "digest": sha256(said.encode()).hexdigest()}
    with as_file(files("ledger.documents") / template) as path:
        return _compile(str(path), content, logo_inputs(logo))


def _compile(template: str, content: Mapping[str, object], drawn: Mapping[str, str]) -> bytes:
    written = json.dumps(content, ensure_ascii=False)
    inputs = {"invoice": written, "fonts": json.dumps(families(written)), **drawn}
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


def _exact(amount: Decimal) -> str:
    """All digits of an amount that mean something, as documents write numbers."""
    return group(plain(amount.normalize(EXACT)))


def group(number: str) -> str:
    """Digits of the whole part in threes, with thin spaces."""
    sign, digits = ("\u2212", number[1:]) if number.startswith("-") else ("", number)
    whole, dot, rest = digits.partition(".")
    return f"{sign}{int(whole):,}".replace(",", "\u2009") + dot + rest


def _described(key: LineKey, basis: Basis, language: str) -> str:
    said = _description(key[2:8], key.part, basis, language)
    if key.used_by and basis is not Basis.TIME:
        return f"{said}, {words_of(language).say('used by {name}', name=key.used_by)}"
    return said


@lru_cache(maxsize=4_096)
def _description(
    used: tuple[str, str, str, str, int, str], part: str, basis: Basis, language: str
) -> str:
    """What lines of many customers say in the same words."""
    words, whole = words_of(language), basis is not Basis.EACH
    model, tier, adapter, region, context_band, meter = used
    # What events call them nobody here can mend.
    model, tier, adapter, region = map(written_out, (model, tier, adapter, region))
    if basis is Basis.TIME:
        matched = (model, tier, adapter, region, part)
        return ", ".join(filter(None, [words.say(METER_NAMES[meter]), *matched]))
    nameless = words.say("all models" if whole else "no model named")
    parts = [words.say(METER_NAMES[meter]), model or nameless]
    named = {"tier {name}": tier, "adapter {name}": adapter, "region {name}": region}
    parts += [words.say(text, name=name) for text, name in named.items() if name]
    if context_band:
        edge = group(str(BAND_EDGES[context_band]))
        parts.append(words.say("context above {tokens} tokens", tokens=edge))
    if part:
        parts.append(part)
    return ", ".join(parts)


def _party(party: Party) -> dict[str, str]:
    return {"name": party.name, "address": party.address, "tax_number": party.tax_number}


def printed_line(line: IssuedLine, terms: Terms, words: Words) -> dict[str, str]:
    """A line as a document says it."""
    zone_name, other = terms.zone, terms.priced_in != terms.currency
    text, _, where = line.description.partition(", ")
    if line.kind == "adjustment":
        days = printed_days(line.key.service_period, zone_name, words)
        text = words.say("Adjustment of {days}: {what}", days=days, what=text)
    if line.kind == ADVANCE:
        days = printed_days(line.key.service_period, zone_name, words)
        asked, back = "In advance for {days}: {what}", "Billed in advance for {days}: {what}"
        text = words.say(asked if line.amount > 0 else back, days=days, what=text)
    return {
        "what": text,
        "where": where,
        "quantity": group(str(line.quantity)),
        "price": _unit_price(line, terms.priced_in) + (f" {terms.priced_in}" if other else ""),
        "per": words.say("per {units}", units=_per(line, words)),
        "amount": group(plain(line.amount)),
    }


def _unit_price(line: IssuedLine, currency: str) -> str:
    """A price in its own digits; what is asked for a period in those that mean something, and its
    currency's at least."""
    amount = line.unit_amount
    if line.key.meter in PERIOD_METERS:
        fine = scale_of(amount) > minor_digits(currency)
        amount = amount.normalize(EXACT) if fine else round_minor(amount, currency)
    return group(plain(amount))


def printed_days(period: Period, zone_name: str, words: Words) -> str:
    """A period as a document says it."""
    first, to, last = describe_days(period, zone_name).partition(" to ")
    return words.say("{first} to {last}", first=first, last=last) if to else first


def printed_tax(line: TaxLine, words: Words) -> dict[str, str]:
    """A line of tax as a document says it."""
    what = words.say(line.key.reason or "No tax")
    if line.key.treatment in RATED:
        percent = plain(line.key.percent.normalize(ROUNDING))
        what = words.say("VAT {country} {percent} %", country=line.key.country, percent=percent)
    return {
        "what": what,
        "base": words.say("on {base}", base=group(plain(line.base))),
        "amount": group(plain(line.amount)),
        "reason": line.key.reason if line.key.percent else "",
    }


def _counted(each: str, many: str, some: int = 0, so_many: str = "") -> Mapping[int, str]:
    return {some: so_many, 1: each, 0: many}


# What units of meters beside tokens are called, by how many a price is for; 0 is any number.
UNIT_NAMES: Mapping[str, Mapping[int, str]] = {
    "requests": _counted("request", "{count} requests"),
    **dict.fromkeys(
        (meter for meter in EXTRAS if meter.endswith("_calls")), _counted("call", "{count} calls")
    ),
    "code_interpreter_sessions": _counted("session", "{count} sessions"),
    "input_pages": _counted("page", "{count} pages"),
    "input_characters": _counted("character", "{count} characters"),
    "storage_mb_days": _counted("megabyte-day", "{count} megabyte-days", 1_000, "gigabyte-day"),
    **dict.fromkeys(("input_images", "output_images"), _counted("image", "{count} images")),
    **dict.fromkeys(
        (meter for meter in EXTRAS if meter.endswith("_ms")),
        _counted("millisecond", "{count} milliseconds", 1_000, "second"),
    ),
}


def _per(line: IssuedLine, words: Words) -> str:
    units = line.per
    if units == 1 and (line.key.part or line.key.meter in PERIOD_METERS):
        return words.say("one")
    counted = UNIT_NAMES.get(line.key.meter)
    if counted is not None:
        return words.say(counted.get(units, counted[0]), count=group(str(units)))
    names = {1: "token", 1_000: "1,000 tokens", 1_000_000: "1M tokens"}
    if units in names:
        return words.say(names[units])
    return words.say("{count} tokens", count=group(str(units)))
