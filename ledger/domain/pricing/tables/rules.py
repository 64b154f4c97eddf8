"""What is odd of a row of a price table: it is held, with the rule and why, and nothing of it
becomes a price. What a rule says may be accepted; what could not be counted may not."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias

from ledger.domain.errors import InvalidInputError
from ledger.domain.money import LEDGER_SCALE, ZERO, multiply, plain, scale_of
from ledger.domain.pricing.rate_card import BAND_EDGES, METERS
from ledger.domain.pricing.tables.row import PER, PER_DIGITS, PricedUsage, TableRow
from ledger.wire.extras import PART_OF, SAME_AS
from ledger.wire.fields import NAME_CHARS_MAX

# Nobody asks more for a million tokens, or less: beyond, a table is in another unit.
DEAREST, CHEAPEST = Decimal(2_000), Decimal("0.001")
_TWICE = "two providers name it, with unlike prices; choose one of them"
Rule: TypeAlias = Callable[[TableRow], Iterator[str]]


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A model whose prices wait for somebody to look at them, by which rule and why."""

    model: str
    rule: str
    why: str


@dataclass(slots=True)
class PriceTable:
    """Prices of a table for a million units, what of it is held, and what nothing here counts."""

    models: int = 0
    unpriced: int = 0
    prices: dict[PricedUsage, Decimal] = field(default_factory=dict)
    held: list[HeldRow] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def _unreadable(row: TableRow) -> Iterator[str]:
    if row.unreadable:
        yield row.unreadable
    elif not row.model.isprintable() or row.model != row.model.strip() or not row.model:
        yield "its name is not one line of printable characters"
    elif len(row.model) > NAME_CHARS_MAX:
        yield f"its name has over {NAME_CHARS_MAX} characters"


def _negative(row: TableRow) -> Iterator[str]:
    return (f"{_said(usage, amount)} is below zero" for usage, amount in _all(row) if amount < 0)


def _digits(row: TableRow) -> Iterator[str]:
    for usage, amount in _all(row):
        if scale_of(amount) + PER_DIGITS > LEDGER_SCALE:
            yield f"{_said(usage, amount)} has over {LEDGER_SCALE} decimals a token"


def _bands(row: TableRow) -> Iterator[str]:
    for usage, _ in _all(row):
        if usage.band_from not in BAND_EDGES:
            yield f"no context band begins at {usage.band_from:,} tokens"


def _unit(row: TableRow) -> Iterator[str]:
    tokens = {*METERS, *PART_OF}
    for usage, amount in _all(row):
        if usage.meter in tokens and amount and not CHEAPEST <= amount <= DEAREST:
            yield f"{_said(usage, amount)} looks like another unit"


def _cached(row: TableRow) -> Iterator[str]:
    for usage, amount, input_amount in _beside(row, "input_cache_read", "input_uncached"):
        if amount >= input_amount > 0:
            yield f"{_said(usage, amount)} is no less than input {plain(input_amount)}"


def _written(row: TableRow) -> Iterator[str]:
    for meter in ("input_cache_write", "input_cache_write_1h"):
        for usage, amount, input_amount in _beside(row, meter, "input_uncached"):
            if amount and not input_amount <= amount <= multiply(input_amount, 3):
                said = _said(usage, amount)
                yield f"{said} is not once to three times input {plain(input_amount)}"


def _thought(row: TableRow) -> Iterator[str]:
    for usage, amount, output in _beside(row, "output_reasoning", "output_visible"):
        if multiply(amount, 2) < output:
            yield f"{_said(usage, amount)} is under half of output {plain(output)}"


def _output(row: TableRow) -> Iterator[str]:
    for usage, amount, input_amount in _beside(row, "output_visible", "input_uncached"):
        if multiply(amount, 100) < input_amount and (amount or row.generates):
            yield f"{_said(usage, amount)} is under a hundredth of input {plain(input_amount)}"


# What no word of ours makes a price of, and what somebody who looked at it may accept.
HARD_RULES: Mapping[str, Rule] = MappingProxyType(
    {"unreadable": _unreadable, "negative": _negative, "digits": _digits, "band": _bands}
)
SOFT_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "unit": _unit,
        "cached": _cached,
        "written": _written,
        "thought": _thought,
        "output": _output,
    }
)


def judge_rows(rows: Iterable[TableRow], accepted: Set[str]) -> PriceTable:
    """What becomes of the rows of a table; a model that stands twice is held both times."""
    table = PriceTable()
    rules = {**HARD_RULES, **{n: rule for n, rule in SOFT_RULES.items() if n not in accepted}}
    by_model: dict[str, TableRow] = {}
    for row in rows:
        table.models += 1
        other = by_model.get(row.model)
        twice = other is not None and (other.prices != row.prices or bool(other.unreadable))
        by_model[row.model] = replace(row, unreadable=_TWICE) if twice else row
    for row in by_model.values():
        _judge(table, row, rules)
    _check_unit(table)
    return table


def _judge(table: PriceTable, row: TableRow, rules: Mapping[str, Rule]) -> None:
    for name, rule in rules.items():
        why = next(rule(row), None)
        if why is not None:
            table.held.append(HeldRow(row.model, name, why))
            return
    twice = _priced_by_tokens(row)
    table.left_out.update(row.left_out)
    table.left_out.update(f"{meter}, priced by tokens" for meter in twice)
    table.unpriced += not row.prices
    table.prices |= {usage: row.prices[usage] for usage in row.prices if usage.meter not in twice}


def _priced_by_tokens(row: TableRow) -> Set[str]:
    """Meters of a row that count what tokens with a price do: whoever says both would pay twice.
    Images, audio and video are tokens of a model's input or output, unless it takes them apart."""
    tokens = {usage.meter for usage, amount in row.prices.items() if amount}
    return {
        usage.meter
        for usage in row.prices
        if (same := SAME_AS.get(usage.meter))
        if same in tokens or (not row.reads_text and PART_OF.get(same) in tokens)
    }


def _check_unit(table: PriceTable) -> None:
    """Refuse a table of which most rows are in another unit: the others are as well."""
    odd = sum(each.rule in ("unit", "digits") for each in table.held)
    if 2 * odd > table.models - table.unpriced:
        raise InvalidInputError(
            f"{odd:,} of {table.models - table.unpriced:,} models have prices in another unit:"
            f" {table.held[0].model}: {table.held[0].why}.",
            "Name a table of the shape that the command reads.",
        )


def _all(row: TableRow) -> Iterable[tuple[PricedUsage, Decimal]]:
    return row.prices.items()


def _beside(
    row: TableRow, meter: str, other: str
) -> Iterator[tuple[PricedUsage, Decimal, Decimal]]:
    """Prices of a meter with those of another for the same tier and context."""
    for usage, amount in row.prices.items():
        beside = replace(usage, meter=other)
        if usage.meter == meter and beside in row.prices:
            yield usage, amount, row.prices[beside]


def _said(usage: PricedUsage, amount: Decimal) -> str:
    tier = f" of {usage.tier}" if usage.tier else ""
    band = f" above {usage.band_from:,} tokens" if usage.band_from else ""
    return f"{usage.meter}{tier}{band} {plain(amount + ZERO)} for {PER:,}"
