"""Turns an invoice into what its electronic form says: lines without tax, or what it lacks.

An electronic invoice is reckoned again by whoever gets it: a line's net amount is quantity × price,
and the nets of a rate add up to the base of its tax (EN 16931 BR-CO-10, BR-S-08, Peppol R120).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from ledger.domain.billing.agreement import Buyer, EInvoiceForm, Party, Seller
from ledger.domain.billing.issued import IssuedLine
from ledger.domain.billing.postal import town_of
from ledger.domain.billing.tax import TaxKey, TaxLine, Treatment, tax_on
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import EXACT, ZERO, minor_digits, multiply, total

# How far from quantity × price a net amount may be (Peppol R120), in whatever currency: one without
# a minor unit is mostly further.
_SLACK = Decimal("0.02")
# The number that Denmark gives a business, which its tax number is made of.
_CVR = re.compile(r"(?:DK)?(\d{8})")
_BETWEEN = re.compile(r"[ .-]")
_PREFIX = re.compile(r"[A-Z]{2}")
# An electronic invoice has no amount of more digits (EN 16931 BR-DEC).
_DIGITS_MAX = 2
# Sellers of whom Peppol asks for numbers that only their authorities or registers give.
_UNSERVED = ("GR", "IS")
# Countries whose sellers have to say post code and town.
_TOWN_SAID = ("IT", "NL")


@dataclass(frozen=True, slots=True)
class ElectronicLine:
    """A line without tax: `quantity` at `unit_amount` (never negative) for `per` of them."""

    line: IssuedLine
    tax: TaxKey
    net: Decimal
    quantity: int
    unit_amount: Decimal
    per: int


def check_e_invoice(
    seller: Seller, buyer: Buyer, taxes: Sequence[TaxLine], *, form: EInvoiceForm, currency: str
) -> None:
    """InvalidInputError names everything that an electronic invoice of this form would lack."""
    lacking = list(_lacking(seller, buyer, taxes, form))
    if minor_digits(currency) > _DIGITS_MAX:
        lacking.append(f"a currency of at most {_DIGITS_MAX} decimals, which {currency} is not")
    if lacking:
        raise InvalidInputError(
            f"{buyer.name} gets invoices as {form}, and this one would not validate without"
            f" {', '.join(lacking)}.",
            "Enter what is missing, or change the customer's e_invoice.",
            "e_invoice",
        )


def danish_number(party: Party) -> str | None:
    """The number under which Denmark registers a business of its own, which it has to name."""
    number = _CVR.fullmatch(written_together(party.tax_number))
    return number[1] if number and party.country == "DK" else None


def written_together(tax_number: str) -> str:
    """A tax number without the blanks, dots and hyphens that people put in it."""
    return _BETWEEN.sub("", tax_number)


def has_prefix(tax_number: str) -> bool:
    """Whether a tax number begins with its country, as those for trade between countries do."""
    return _PREFIX.match(tax_number) is not None


def _lacking(
    seller: Seller, buyer: Buyer, taxes: Sequence[TaxLine], form: EInvoiceForm
) -> Iterator[str]:
    needed: dict[str, object] = {
        "the country of the entity": seller.country,
        "the country of the customer": buyer.country,
        "a tax treatment of the customer": taxes,
    }
    treatments = {line.key.treatment for line in taxes}
    if treatments - {Treatment.OUTSIDE}:
        needed["a tax number of the entity"] = seller.tax_number
    if Treatment.EXPORT in treatments:
        prefixed = has_prefix(seller.tax_number)
        needed["a tax number of the entity that begins with its country"] = prefixed
    if form is EInvoiceForm.PEPPOL:
        needed |= _needed_by_peppol(seller, buyer)
    yield from (what for what, said in needed.items() if not said)
    if Treatment.OUTSIDE in treatments and len(treatments) > 1:
        yield "one tax treatment for all lines (beside what is outside the scope nothing may stand)"


def _needed_by_peppol(seller: Seller, buyer: Buyer) -> dict[str, object]:
    needed: dict[str, object] = {
        "the electronic_address of the entity": seller.electronic_address,
        "the electronic_address of the customer": buyer.electronic_address,
        "the buyer_reference of the customer": buyer.buyer_reference,
    }
    if seller.country == "DK":
        needed["a Danish tax number of the entity"] = danish_number(seller)
    if seller.country in _UNSERVED:
        needed[f"what Peppol asks of sellers in {seller.country} and is not kept here"] = None
    if seller.country == buyer.country == "DE":
        needed["the telephone that Peppol asks of Germans and is not kept here"] = None
    where = "post code and town on the last line of the address of the"
    if seller.country in _TOWN_SAID:
        needed[f"{where} entity"] = town_of(seller).city
    if seller.country == buyer.country == "NL":
        needed[f"{where} customer"] = town_of(buyer).city
    return needed


def electronic_lines(
    lines: Sequence[IssuedLine],
    amounts: Mapping[int, Decimal],
    keys: Sequence[TaxKey],
    taxes: Sequence[TaxLine],
    *,
    currency: str,
    mode: str,
) -> list[ElectronicLine]:
    """The lines that `amounts` (by line number) are asked of, each by its tax key.

    Where amounts hold the tax, what rounding leaves of a rate's base goes to its largest line.
    """
    nets = _nets(lines, amounts, keys, taxes, currency, mode)
    return [
        _electronic(line, key, nets[line.line_no])
        for line, key in zip(lines, keys, strict=True)
        if line.line_no in nets
    ]


def mirrored_line(line: IssuedLine) -> IssuedLine:
    """A line as it is told where what is given back is above zero."""
    return replace(
        line,
        quantity=-line.quantity,
        exact_amount=EXACT.minus(line.exact_amount),
        amount=EXACT.minus(line.amount),
        charged_amount=EXACT.minus(line.charged),
    )


def mirrored_tax(line: TaxLine) -> TaxLine:
    """A tax line as it is told where what is given back is above zero."""
    return replace(line, base=EXACT.minus(line.base), amount=EXACT.minus(line.amount))


def _nets(
    lines: Sequence[IssuedLine],
    amounts: Mapping[int, Decimal],
    keys: Sequence[TaxKey],
    taxes: Sequence[TaxLine],
    currency: str,
    mode: str,
) -> dict[int, Decimal]:
    nets: dict[int, Decimal] = {}
    for tax in taxes:
        taxed = [
            line.line_no
            for line, key in zip(lines, keys, strict=True)
            if key == tax.key and line.line_no in amounts
        ]
        nets |= {no: tax_on(tax.key, amounts[no], currency, mode).base for no in taxed}
        left = EXACT.subtract(tax.base, total([nets[no] for no in taxed]))
        if left:
            largest = max(taxed, key=lambda no: (abs(nets[no]), -no))
            nets[largest] = EXACT.add(nets[largest], left)
    return nets


def _electronic(line: IssuedLine, key: TaxKey, net: Decimal) -> ElectronicLine:
    product = multiply(line.unit_amount, line.quantity)
    reckoned = multiply(line.exact_amount, line.per) == product and net == line.amount
    near = abs(EXACT.subtract(line.exact_amount, net)) <= _SLACK
    if reckoned and near and line.unit_amount >= 0:
        return ElectronicLine(line, key, net, line.quantity, line.unit_amount, line.per)
    # What is not quantity × price is one piece of its own price; a price is never negative.
    return ElectronicLine(line, key, net, -1 if net < ZERO else 1, abs(net), 1)
