"""The terminal report of the demo: what the two factories' books say, and where to look next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ledger.demo import published_day
from ledger.demo.figures import FATES, MILLI, Books, cents, kwh
from ledger.domain.cost.margin import Margin
from ledger.domain.money import plain
from ledger.reports.bars import bars
from ledger.reports.cost.figures import joules_per_output_token
from ledger.reports.cost.margin import MarginReport
from ledger.reports.cost.margin_rows import MarginRow
from ledger.reports.table_fit import fit_columns
from ledger.store.operations import Suspended

COLUMNS = (
    *("", "tokens", "kWh", "J/out tok", "electricity", "GPU", "idle"),
    *("revenue", "margin", "after idle"),
)
KEPT = ("revenue", "after idle", "tokens", "GPU", "margin")


@dataclass(frozen=True, slots=True)
class Oddities:
    """The four oddities of the own fleet, as the books show them."""

    duplicate_events: int
    late_amount: Decimal
    late_currency: str
    invoice_unchanged: bool
    suspended: Sequence[Suspended]
    suspense_cost: Decimal
    estimated_mj: int


def show(console: Console, fleet: Books, summary: Mapping[str, Any], oddities: Oddities) -> None:
    """Print the report."""
    _show_day(console, summary["published_day"])
    _show_fleet(console, fleet)
    _show_oddities(console, oddities)
    _show_events(console, summary["events"])


def _show_day(console: Console, figures: Mapping[str, Any]) -> None:
    console.rule(
        "[bold]A published day[/bold]: DeepSeek V3/R1, 24 hours to 28 Feb 2025 12:00 UTC+8"
    )
    table = Table(box=SIMPLE_HEAD, show_header=True)
    for column in ("", "the books say", "published", "why they differ"):
        table.add_column(column)
    table.add_row("cost, USD", _thousands(figures["cost_usd"]), "87,072.00", "")
    table.add_row(
        "revenue, USD (account 4000)",
        _thousands(figures["revenue_usd"]),
        _thousands(published_day.PUBLISHED_REVENUE_USD),
        "published tokens are rounded to billions; ours are those round numbers",
    )
    published = Margin(
        Decimal(published_day.PUBLISHED_REVENUE_USD), Decimal(figures["cost_usd"]), "USD"
    )
    table.add_row(
        "gross margin on revenue",
        f"{figures['gross_margin_pct']} %",
        f"{published.gross_margin_pct} %",
        "not published; from the published amounts",
    )
    table.add_row(
        "mark-up on cost",
        f"{figures['markup_pct']} %",
        f"{published_day.PUBLISHED_MARKUP_PCT} %",
        "published as “cost profit margin”; it is a mark-up",
    )
    table.add_row("invoices' total, USD", _thousands(figures["invoiced_usd"]), "", "")
    table.add_row(
        "rounding account 6100, USD", figures["rounding_usd"], "", "lines round, revenue does not"
    )
    console.print(table)
    console.print(_spark([Decimal(cost) for cost in figures["hourly_cost_usd"]]), highlight=False)


def _show_fleet(console: Console, fleet: Books) -> None:
    report = fleet.tiers
    console.rule("[bold]An own fleet[/bold]: four owned GPUs, the 25-hour 27 October 2024, EUR")
    for by, margin in fleet.by.items():
        console.print(_margin_table(by, margin, console.width))
    held = report.conservation
    console.print(
        f"  energy {kwh(report.energy_mj)} kWh, of device energy {held.metered_pct} % measured; "
        f"residuals: {held.energy_residual_mj} mJ, {plain(held.cost_residual)} {report.currency}"
    )
    console.print(
        f"  idle cost {cents(report.idle_cost)} {report.currency} is its own line; "
        f"“after idle” spreads it: {report.idle_policy}"
    )


def _margin_table(by: str, report: MarginReport, width: int) -> Table:
    """As many columns as fit the terminal: no number is broken, what says most stays longest."""
    rows = [_cells(row, row.group[0] or "(none)", report.currency) for row in report.rows]
    total = _cells(report.total, "total", report.currency)
    fitted = fit_columns(COLUMNS, [*rows, total], width, first=KEPT, numbers=range(1, len(COLUMNS)))
    table = Table(box=SIMPLE_HEAD, title=f"by {by}", title_justify="left", title_style="dim")
    for column in fitted.shown:
        table.add_column(COLUMNS[column], justify="right" if column else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(row[column] for column in fitted.shown))
    table.add_section()
    table.add_row(*(total[column] for column in fitted.shown))
    return table


def _cells(row: MarginRow, name: str, currency: str) -> tuple[str, ...]:
    before = Margin(row.revenue, row.cost_before_idle, currency).gross_margin_pct
    after = Margin(row.revenue, row.cost, currency).gross_margin_pct
    return (
        name,
        f"{row.input_tokens + row.output:,}",
        kwh(row.energy_mj, MILLI),
        _joules(row),
        cents(row.electricity),
        cents(row.gpu_cost),
        cents(row.idle_share),
        cents(row.revenue),
        "–" if before is None else f"{before} %",
        "–" if after is None else f"{after} %",
    )


def _joules(row: MarginRow) -> str:
    joules = joules_per_output_token(row.energy_mj, row.output)
    return f"{Decimal(joules):.3f}" if joules else "–"


def _show_oddities(console: Console, odd: Oddities) -> None:
    console.rule("What went wrong that day, and where it shows")
    unchanged = "byte for byte the same" if odd.invoice_unchanged else "CHANGED"
    waiting = ", ".join(each.customer_ref for each in odd.suspended)
    for name, text in (
        ("a batch sent twice", f"{odd.duplicate_events:,} events are duplicates, counted once"),
        (
            "a late event",
            f"a pending adjustment of {plain(odd.late_amount)} {odd.late_currency}; "
            f"the issued invoice is {unchanged}",
        ),
        (
            "an unknown customer",
            f"{waiting} waits in suspense and carries {plain(odd.suspense_cost)} EUR of cost",
        ),
        (
            "a counter that restarted",
            f"{kwh(odd.estimated_mj)} kWh are booked as estimated, apart from what was measured",
        ),
    ):
        console.print(f"  [bold]{name}[/bold]: {text}", highlight=False)


def _show_events(console: Console, events: Mapping[str, int]) -> None:
    fates = ", ".join(f"{name} {events[name]:,}" for name in FATES)
    console.print(f"\n  received {events['received']:,} events = {fates}", highlight=False)


def _spark(values: Sequence[Decimal]) -> str:
    top = max(values)
    return f"  cost of each hour, 12:00 to 12:00: {bars(values)}  peak {cents(top)} USD"


def _thousands(amount: str) -> str:
    return f"{Decimal(amount):,.2f}"
