"""What requests of a file cost as they say, against what they come to on a rate card."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, DecimalException

from ledger.commands.data.show import print_table
from ledger.commands.data.usage_file import Cells
from ledger.domain.pricing.quote import agrees, quote_usage
from ledger.domain.pricing.rate_card import RateCard, UsageKey
from ledger.wire.rfc3339 import parse_rfc3339

_METERS: Mapping[str, str] = {
    "input": "input_uncached",
    "uncached": "input_uncached",
    "cache_read": "input_cache_read",
    "cache_write": "input_cache_write",
    "output": "output_visible",
    "visible": "output_visible",
    "reasoning": "output_reasoning",
}


@dataclass(frozen=True, slots=True)
class ComparedCost:
    """What a line says that it cost, what it comes to on a card, and whether they agree; `why` says
    what cannot be compared."""

    line: int
    run: str
    model: str
    said: Decimal | None
    by_card: Decimal | None
    reconciles: bool
    why: str = ""


def compare_costs(
    rows: Iterable[Cells], targets: tuple[str, ...], fixed: Mapping[str, str], card: RateCard
) -> list[ComparedCost]:
    """Every line of a file against a card, in its order."""
    return [
        _compare(line, {**dict(zip(targets, cells, strict=True)), **fixed}, card)
        for line, cells in rows
    ]


def _compare(line: int, said: Mapping[str, object], card: RateCard) -> ComparedCost:
    model, run = str(said.get("model", "")), str(said.get("run", ""))
    key = UsageKey(model, str(said.get("tier", "standard")))
    try:
        cost = Decimal(str(said["cost"]))
        counts = {_METERS[name]: int(str(said[name])) for name in _METERS if name in said}
        at: datetime = parse_rfc3339(str(said["time"]))
    except (ArithmeticError, DecimalException, KeyError, ValueError):
        why = "its cost, counts or time cannot be read"
        return ComparedCost(line, run, model, None, None, reconciles=False, why=why)
    quoted = quote_usage(card, counts, key, at)
    if isinstance(quoted, str):
        return ComparedCost(line, run, model, cost, None, reconciles=False, why=quoted)
    return ComparedCost(line, run, model, cost, quoted, reconciles=agrees(quoted, cost))


def show_costs(compared: Iterable[ComparedCost], rate_card_id: str) -> None:
    """What agrees and what does not, a row a line."""
    print_table(
        f"What lines say they cost against {rate_card_id}",
        ("line", "run", "model", "reconciles", "said", "by card", "why"),
        [
            (each.line, each.run, each.model, each.reconciles, each.said, each.by_card, each.why)
            for each in compared
        ],
        first=("model", "reconciles", "said", "by card"),
    )
