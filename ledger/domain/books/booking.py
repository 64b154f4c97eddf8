"""Turns business events into postings: which accounts, which sign.

Chart and postings follow common practice for usage businesses; codes are ours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias

from ledger.domain.billing.credit_note import Credit
from ledger.domain.billing.grant import Applied
from ledger.domain.billing.invoice import InvoiceTotals
from ledger.domain.books.journal import Posting, merged
from ledger.domain.money import EXACT, ZERO, total


@dataclass(frozen=True, slots=True)
class Account:
    """A place in the chart: `name` is the path finance tools show."""

    account: str
    name: str
    type: str


CHART: Mapping[str, Account] = MappingProxyType(
    {
        code: Account(code, name, kind)
        for code, name, kind in (
            ("1000", "Assets:Bank:Operating", "asset"),
            ("1100", "Assets:Receivable:Trade", "asset"),
            ("1150", "Assets:Receivable:Unbilled", "asset"),
            ("1200", "Assets:Receivable:InputVAT", "asset"),
            ("1590", "Assets:Fixed:GPU:Accumulated", "asset"),
            ("2000", "Liabilities:Payable:Trade", "liability"),
            ("2100", "Liabilities:Accrued:Electricity", "liability"),
            ("2150", "Liabilities:Accrued:Sites", "liability"),
            ("2200", "Liabilities:Prepaid:Customer", "liability"),
            ("2250", "Liabilities:Deferred:Fees", "liability"),
            ("2300", "Liabilities:Tax:OutputVAT", "liability"),
            ("2400", "Liabilities:Refund:CreditNotes", "liability"),
            ("3100", "Equity:Conversion", "equity"),
            ("4000", "Income:Usage:Tokens", "income"),
            ("4100", "Income:Breakage", "income"),
            ("4900", "Income:Contra:CreditNotes", "income"),
            ("4910", "Income:Contra:Promotional", "income"),
            ("5000", "Expenses:COR:Electricity:Serving", "expense"),
            ("5010", "Expenses:COR:Electricity:Idle", "expense"),
            ("5020", "Expenses:COR:Electricity:Overhead", "expense"),
            ("5100", "Expenses:COR:Depreciation:Serving", "expense"),
            ("5110", "Expenses:COR:Depreciation:Idle", "expense"),
            ("5200", "Expenses:COR:Hosting", "expense"),
            ("5300", "Expenses:COR:Sites", "expense"),
            ("5900", "Expenses:COR:Unallocated", "expense"),
            ("6100", "Expenses:Rounding", "expense"),
        )
    }
)


@dataclass(frozen=True, slots=True)
class CostTotals:
    """Cost in a currency of one line kind and hardware terms, to be booked; of usage, by its tier
    and model.

    Kinds are `usage`, `suspense` (usage of a customer nobody knows yet), `idle`, `unattributed`.
    """

    currency: str
    line: str
    gpu_terms: str
    tier: str
    model: str
    device_cost: Decimal
    overhead_cost: Decimal
    gpu_cost: Decimal


@dataclass(frozen=True, slots=True)
class Earned:
    """What usage of a tier and model, or a fee of neither, came to in a day, whoever used it; a fee
    that is billed `in_advance` apart."""

    currency: str
    tier: str
    model: str
    amount: Decimal
    in_advance: bool = False


def usage_accrued(earned: Iterable[Earned]) -> tuple[Posting, ...]:
    """Revenue when tokens were used, not when they are invoiced: 4000 by tier and model, against
    1150, whose ledger by customer is charges less invoices, or 2250 of fees billed in advance."""
    postings: list[Posting] = []
    for each in earned:
        revenue = EXACT.minus(each.amount)
        postings += (
            Posting("2250" if each.in_advance else "1150", each.amount, each.currency),
            Posting("4000", revenue, each.currency, tier=each.tier, model=each.model),
        )
    return merged(postings)


@dataclass(frozen=True, slots=True)
class Currencies:
    """What an invoice asks in, and what its prices are in; what one becomes the other by is 3100,
    in both."""

    asked: str
    priced: str

    def exchanged(self, customer_id: str, priced: Decimal, asked: Decimal) -> tuple[Posting, ...]:
        """So much of one against so much of the other; nothing where they are one."""
        if self.priced == self.asked:
            return ()
        return (
            Posting("3100", priced, self.priced, customer_id),
            Posting("3100", EXACT.minus(asked), self.asked, customer_id),
        )


def invoice_issued(
    customer_id: str, totals: InvoiceTotals, currencies: Currencies, deferred: Decimal = ZERO
) -> tuple[Posting, ...]:
    """Receivable gross against unbilled exact, tax, and the rounding difference on 6100; what its
    lines say of fees billed in advance (`deferred`) is owed on 2250 until it is earned.

    Where prices hold the tax, what was accrued holds it too, and revenue gives it back. What the
    customer gets back is on its account, on 2400. What was accrued is in the currency of prices.
    """
    account = "2400" if totals.gives_back else "1100"
    asked, priced = currencies.asked, currencies.priced
    return merged(
        (
            Posting(account, totals.payable, asked, customer_id),
            Posting("1150", EXACT.subtract(deferred, totals.charged), priced, customer_id),
            Posting("2250", EXACT.minus(deferred), priced, customer_id),
            Posting("2300", EXACT.minus(totals.tax), asked, customer_id),
            Posting("4000", totals.included, asked, customer_id),
            Posting("6100", totals.rounding, asked, customer_id),
            *currencies.exchanged(customer_id, totals.charged, totals.exact),
        )
    )


def invoice_voided(
    customer_id: str,
    totals: InvoiceTotals,
    *,
    on_account: Decimal,
    currencies: Currencies,
    deferred: Decimal = ZERO,
) -> tuple[Posting, ...]:
    """An invoice taken back as it was booked; what it owed no more is the customer's, on 2400."""
    back = [
        Posting(posting.account, EXACT.minus(posting.amount), posting.currency, customer_id)
        for posting in invoice_issued(customer_id, totals, currencies, deferred)
    ]
    return merged(
        (
            *back,
            Posting("1100", on_account, currencies.asked, customer_id),
            Posting("2400", EXACT.minus(on_account), currencies.asked, customer_id),
        )
    )


def credit_issued(
    customer_id: str, credit: Credit, *, on_account: Decimal, currency: str
) -> tuple[Posting, ...]:
    """Contra income and tax back; what the invoice owed no more is the customer's, on 2400."""
    owed = EXACT.subtract(credit.payable, on_account)
    return merged(
        (
            Posting("4900", credit.net, currency, customer_id),
            Posting("2300", credit.tax, currency, customer_id),
            Posting("1100", EXACT.minus(owed), currency, customer_id),
            Posting("2400", EXACT.minus(on_account), currency, customer_id),
        )
    )


def paid(
    customer_id: str, *, cash: Decimal, on_account: Decimal, currency: str
) -> tuple[Posting, ...]:
    """Cash that came (or, below zero, went) against receivables and what is on account."""
    receivable = EXACT.subtract(cash, on_account)
    return merged(
        (
            Posting("1000", cash, currency, customer_id),
            Posting("1100", EXACT.minus(receivable), currency, customer_id),
            Posting("2400", EXACT.minus(on_account), currency, customer_id),
        )
    )


def granted(customer_id: str, amount: Decimal, currency: str) -> tuple[Posting, ...]:
    """Prepaid money is owed in usage: 1000 against 2200. What is given posts nothing until used."""
    return _pair("1000", "2200", amount, currency, customer_id=customer_id)


def drawn(customer_id: str, amounts: Mapping[str, Decimal], currency: str) -> tuple[Posting, ...]:
    """Usage paid by grants, by their kind: 2200, or 4910 for what was given, against 1150."""
    debits = {"prepaid": "2200", "promotional": "4910"}
    pairs = (
        _pair(debits[kind], "1150", amount, currency, customer_id=customer_id)
        for kind, amount in amounts.items()
    )
    return merged(posting for pair in pairs for posting in pair)


def grant_expired(customer_id: str, amount: Decimal, currency: str) -> tuple[Posting, ...]:
    """What of prepaid money was never used: 2200 against 4100."""
    return _pair("2200", "4100", amount, currency, customer_id=customer_id)


def credit_applied(
    customer_id: str, applied: Sequence[Applied], currencies: Currencies, *, gives_back: bool
) -> tuple[Posting, ...]:
    """What grants paid of an invoice: it asks less for, and 1150 holds what they were drawn for."""
    charged = total([each.charged_amount for each in applied])
    exact = total([each.exact_amount for each in applied])
    amount, asked = total([each.amount for each in applied]), currencies.asked
    return merged(
        (
            Posting("1150", charged, currencies.priced, customer_id),
            Posting("2400" if gives_back else "1100", EXACT.minus(amount), asked, customer_id),
            Posting("6100", EXACT.subtract(amount, exact), asked, customer_id),
            *currencies.exchanged(customer_id, EXACT.minus(charged), EXACT.minus(exact)),
        )
    )


def cost_accrued(totals: Iterable[CostTotals]) -> tuple[Posting, ...]:
    """Electricity against 2100, depreciation against 1590, leases against 2000; what usage cost is
    told apart by tier and model.

    Unattributed cost of every kind is 5900, whose balance is what nobody was charged with. Cost of
    usage in suspense is serving cost under a dimension of its own, until its customer is known.
    """
    postings: list[Posting] = []
    for each in totals:
        for debit, credit, amount, dimension in (*_electricity(each), *_hardware(each)):
            postings += (
                Posting(
                    *(debit, amount, each.currency, None, dimension),
                    *(each.tier, each.model),
                ),
                Posting(credit, EXACT.minus(amount), each.currency),
            )
    return merged(postings)


def site_cost_accrued(amounts: Mapping[str, Decimal], currency: str) -> tuple[Posting, ...]:
    """What a site costs by name: 5300 under each name's dimension, against 2150."""
    pairs = (_pair("5300", "2150", amounts[n], currency, dimension=n) for n in sorted(amounts))
    return merged(posting for pair in pairs for posting in pair)


# What is debited, what is credited, how much, and the dimension it is debited under.
_Move: TypeAlias = tuple[str, str, Decimal, str]


def _electricity(total: CostTotals) -> tuple[_Move, ...]:
    if total.line == "unattributed":
        both = EXACT.add(total.device_cost, total.overhead_cost)
        return (("5900", "2100", both, "electricity"),)
    device = "5010" if total.line == "idle" else "5000"
    return (
        (device, "2100", total.device_cost, _suspense(total)),
        ("5020", "2100", total.overhead_cost, _use(total)),
    )


def _hardware(total: CostTotals) -> tuple[_Move, ...]:
    against = "2000" if total.gpu_terms == "lease" else "1590"
    if total.line == "unattributed":
        return (("5900", against, total.gpu_cost, "gpu"),)
    if total.gpu_terms == "lease":
        return (("5200", against, total.gpu_cost, _use(total)),)
    account = "5110" if total.line == "idle" else "5100"
    return ((account, against, total.gpu_cost, _suspense(total)),)


def _use(total: CostTotals) -> str:
    return "serving" if total.line == "usage" else total.line


def _suspense(total: CostTotals) -> str:
    return "suspense" if total.line == "suspense" else ""


def _pair(
    debit: str,
    credit: str,
    amount: Decimal,
    currency: str,
    *,
    dimension: str = "",
    customer_id: str | None = None,
) -> tuple[Posting, ...]:
    if amount == 0:
        return ()
    return (
        Posting(debit, amount, currency, customer_id, dimension),
        Posting(credit, EXACT.minus(amount), currency, customer_id),
    )
