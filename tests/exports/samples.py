"""Small rows with what makes files go wrong: formulas, quotes, other scripts, many digits."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from ledger.domain.books.exported import (
    ExportedExtra,
    ExportedInvoice,
    ExportedLine,
    ExportedMargin,
    ExportedRow,
    ExportedSiteCost,
    ExportedTax,
    ExportedUsage,
    JournalHead,
    JournalLine,
)
from ledger.domain.cost.cost_sum import CostSum
from ledger.exports.form import ExportScope

OCTOBER = datetime(2024, 9, 30, 22, tzinfo=UTC)
NOVEMBER = datetime(2024, 10, 31, 23, tzinfo=UTC)
# The repeated hour of the night the clocks went back.
HOUR = datetime(2024, 10, 27, 1, tzinfo=UTC)
AGENT = '=HYPERLINK("http://evil")'
NAME = 'Žluťoučký kůň 株式会社; "Sons", Ltd'


def scope(**changes: Any) -> ExportScope:
    """Whose sample it is, with some of it changed."""
    given: dict[str, Any] = {
        "entity_id": "factory",
        "entity_name": NAME,
        "currency": "EUR",
        "zone": "Europe/Copenhagen",
        "since": OCTOBER,
        "until": NOVEMBER,
        "journal": JournalHead(sorted(NAMES.values()), ["EUR"], HOUR),
    }
    return ExportScope(**(given | changes))


def parts() -> Mapping[str, Sequence[ExportedRow]]:
    """The rows of every part, in the order of its files."""
    return {
        "journal": journal(),
        "invoices": [invoice()],
        "invoice_taxes": [
            tax(1, "standard", "25", "1.66", ""),
            tax(2, "exempt", "0", "0", f"=SUM(1) {NAME}"),
        ],
        "invoice_lines": [line(1, "usage", "4.956"), line(2, "adjustment", "-1.65900079")],
        "usage": [usage(None), usage("acme")],
        "extras": [extra("input_audio", 1_000), extra("web_search_calls", 3)],
        "costs": [cost("idle", None), cost("usage", "acme")],
        "margins": [margin("-beta", "0"), margin("acme", "6.6")],
        "site_costs": [
            ExportedSiteCost("site", OCTOBER, "=rent", "EUR", Decimal("33.333333333333")),
            ExportedSiteCost("site", OCTOBER, "true-up", "EUR", Decimal("-1.5")),
        ],
    }


def journal() -> list[JournalLine]:
    """Revenue booked, booked again by its difference, the invoice, and what came after a close."""
    revenue = "revenue:acme:sub:2024-10-27T01:00Z:EUR"
    return [
        *_entry("revenue", revenue, 1, HOUR, [("1150", "4.956"), ("4000", "-4.956")], 30),
        *_entry(
            "revenue", revenue, 2, HOUR, [("1150", "1.65900079"), ("4000", "-1.65900079")], 35, 30
        ),
        *_entry(
            "invoice",
            "invoice:factory:FA-2024-000001",
            1,
            datetime(2024, 10, 31, 22, tzinfo=UTC),
            [("1100", "6.62"), ("1150", "-6.61500079"), ("6100", "-0.00499921")],
            38,
        ),
        *_entry(
            *("revenue", revenue, 3, NOVEMBER, [("1150", "0.5"), ("4000", "-0.5")], 44, 35),
            corrects=HOUR,
        ),
    ]


NAMES = {
    "1100": "Assets:Receivable:Trade",
    "1150": "Assets:Receivable:Unbilled",
    "4000": "Income:Usage:Tokens",
    "6100": "Expenses:Rounding",
}


def _entry(
    kind: str,
    key: str,
    revision: int,
    booked_for: datetime,
    amounts: list[tuple[str, str]],
    cut_off: int,
    booked_seq: int = 0,
    corrects: datetime | None = None,
) -> list[JournalLine]:
    return [
        JournalLine(
            line_no=line_no,
            kind=kind,
            natural_key=key,
            revision=revision,
            booked_for=booked_for,
            corrects=corrects,
            account=account,
            name=NAMES[account],
            amount=Decimal(amount),
            currency="EUR",
            customer_id="acme",
            dimension="",
            tier="",
            model="",
            description=f"{kind} of {NAME}; 2 | 3",
            cut_off=cut_off,
            booked_seq=booked_seq,
        )
        for line_no, (account, amount) in enumerate(amounts, start=1)
    ]


def invoice() -> ExportedInvoice:
    """One issued invoice of a customer with a hostile name."""
    return ExportedInvoice(
        number="FA-2024-000001",
        issued_at=datetime(2024, 10, 31, 22, 30, tzinfo=UTC),
        due_on=date(2024, 11, 30),
        customer_id="acme",
        customer_name=f"@{NAME}",
        subscription_id="sub",
        period_start=OCTOBER,
        period_end=NOVEMBER,
        run_no=1,
        currency="EUR",
        priced_in="USD",
        charged_total=Decimal("7.2474"),
        exact_total=Decimal("6.61500079"),
        net_total=Decimal("6.62"),
        tax_total=Decimal("1.66"),
        tax_included=Decimal(0),
        payable=Decimal("8.28"),
        event_cut_off=NOVEMBER,
        ledger_seq_to=38,
        pdf_sha256="ab" * 32,
    )


def tax(line_no: int, treatment: str, percent: str, amount: str, reason: str) -> ExportedTax:
    """A line of its tax."""
    return ExportedTax(
        number="FA-2024-000001",
        issued_at=datetime(2024, 10, 31, 22, 30, tzinfo=UTC),
        line_no=line_no,
        customer_id="acme",
        customer_tax_number="DK13585628",
        seller_tax_number="+DE136695976",
        currency="EUR",
        country="DK",
        treatment=treatment,
        percent=Decimal(percent),
        included=False,
        reason=reason,
        base=Decimal("6.62"),
        amount=Decimal(amount),
    )


def line(line_no: int, kind: str, exact: str) -> ExportedLine:
    """A line of it."""
    return ExportedLine(
        number="FA-2024-000001",
        issued_at=datetime(2024, 10, 31, 22, 30, tzinfo=UTC),
        currency="EUR",
        line_no=line_no,
        customer_id="acme",
        kind=kind,
        service_start=OCTOBER,
        service_end=NOVEMBER,
        model="llama",
        tier="standard",
        adapter="",
        region="",
        context_band=0,
        meter="output_visible",
        used_by="",
        description="+Output tokens, llama",
        quantity=2_100_001,
        unit_amount=Decimal("0.790000"),
        per=1_000_000,
        priced_in="USD",
        charged_amount=Decimal("1.8175"),
        exact_amount=Decimal(exact),
        amount=Decimal(exact).quantize(Decimal("0.01")),
    )


def usage(customer_id: str | None) -> ExportedUsage:
    """A window of one customer, or of one that nobody knows, whose output nobody said."""
    return ExportedUsage(
        window_start=HOUR,
        customer_id=customer_id,
        customer_ref=customer_id or "who?",
        project_id="",
        api_key_id="key-1",
        agent_id=AGENT,
        tier="standard",
        model="llama",
        adapter="",
        region="",
        context_band=0,
        requests=3,
        uncached=8_400_000,
        cache_read=0,
        cache_write=0,
        visible=2_100_001 if customer_id else 0,
        reasoning=0,
        estimated=1,
        incomplete=0,
        input_unknown=0,
        output_unknown=0 if customer_id else 3,
        cached_unknown=3,
        written_unknown=0,
        reasoning_unknown=0,
    )


def extra(meter: str, quantity: int) -> ExportedExtra:
    """A window of a customer that counted something beside its tokens."""
    return ExportedExtra(
        window_start=HOUR,
        customer_id="acme",
        customer_ref="acme",
        project_id="",
        api_key_id="key-1",
        agent_id=AGENT,
        tier="standard",
        model="llama",
        adapter="",
        region="",
        context_band=0,
        meter=meter,
        quantity=quantity,
    )


def cost(kind: str, customer_id: str | None) -> CostSum:
    """A cost line of a deployment."""
    return CostSum(
        scope="deployment:chat",
        line=kind,
        currency="EUR",
        customer_id=customer_id,
        customer_ref=customer_id,
        agent_id=AGENT if customer_id else None,
        tier="standard" if customer_id else None,
        model="llama" if customer_id else None,
        project_id=None,
        api_key_id=None,
        adapter=None,
        region=None,
        busy_s=450,
        device_metered_mj=360_000_000,
        device_estimated_mj=0,
        host_mj=45_000_000,
        overhead_mj=81_000_000,
        device_cost=Decimal("0.010000000000"),
        overhead_cost=Decimal("0.0035"),
        gpu_cost=Decimal("0.5"),
    )


def margin(customer: str, revenue: str) -> ExportedMargin:
    """A group's margin; one group has no revenue, one a loss."""
    return ExportedMargin(
        customer=customer,
        tier="standard",
        model="llama",
        agent=AGENT,
        currency="EUR",
        input_tokens=8_400_000,
        input_cache_read=0,
        output_tokens=2_100_001,
        unpriced_tokens=0,
        energy_mj=486_000_000,
        revenue=Decimal(revenue),
        electricity=Decimal("0.0135"),
        gpu_cost=Decimal("7.5"),
        cost_before_idle=Decimal("7.5135"),
        idle_share=Decimal("1e-12"),
        site_share=Decimal(0),
        cost=Decimal("7.513500000001"),
    )
