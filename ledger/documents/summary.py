"""What an invoice says of its usage at a glance: subtotals by model, units by meter, a chart."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby

from ledger.documents.words import Words
from ledger.domain.billing.issued import IssuedLine
from ledger.domain.money import plain, round_minor, total
from ledger.domain.pricing.rate_card import PERIOD_METERS

# Fewer lines are taken in at a glance.
GROUPED_FROM = 13
PERMILLE = 1_000
PrintedLine = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LineGroup:
    """Lines as they are printed, under a title and with what they come to where there are many."""

    title: str
    lines: Sequence[PrintedLine]
    subtotal: Decimal | None


def grouped_lines(
    lines: Sequence[IssuedLine], printed: Callable[[IssuedLine], PrintedLine], words: Words
) -> list[LineGroup]:
    """The lines as they stand; or those of each customer, where several used them, or of each
    model, where there are many, and what these come to, fees and discounts behind them.

    Models come in the order in which the lines name them, and lines keep theirs.
    """
    own = words.say("own usage")
    if any(line.key.used_by for line in lines):
        return _groups(lines, printed, lambda line: line.key.used_by, lambda name: name or own)
    if len(lines) < GROUPED_FROM:
        return [LineGroup("", [printed(line) for line in lines], None)]
    return _groups(
        lines, printed, _model_of, lambda name: words.say(name) if name in _OF_NO_MODEL else name
    )


def _groups(
    lines: Sequence[IssuedLine],
    printed: Callable[[IssuedLine], PrintedLine],
    named: Callable[[IssuedLine], str],
    title: Callable[[str], str],
) -> list[LineGroup]:
    order = list(dict.fromkeys(named(line) for line in lines))
    together = sorted(lines, key=lambda line: order.index(named(line)))
    groups = []
    for name, some in groupby(together, key=named):
        members = list(some)
        groups.append(
            LineGroup(
                title=title(name),
                lines=[printed(line) for line in members],
                subtotal=total([line.amount for line in members]),
            )
        )
    return groups


_OF_NO_MODEL = _FEES, _NAMELESS, _ALL = "Fees and discounts", "no model named", "all models"


def _model_of(line: IssuedLine) -> str:
    """The model of a line, or what it is of where it is of none."""
    if line.key.meter in PERIOD_METERS:
        return _FEES
    # A price that looks at the period as a whole says what it is of its price.
    return line.key.model or (_NAMELESS if line.part is None else _ALL)


def units_by_meter(lines: Sequence[IssuedLine]) -> Mapping[str, int]:
    """How many units of each meter were used, in the order of the lines; without adjustments."""
    used: Counter[str] = Counter()
    for line in lines:
        if line.kind == "usage" and line.key.meter not in PERIOD_METERS:
            used[line.key.meter] += line.quantity
    return {meter: count for meter, count in used.items() if count}


def day_chart(
    days: Mapping[date, Decimal], currency: str, words: Words, group: Callable[[str], str]
) -> dict[str, object] | None:
    """Bars of what was charged by day, in thousandths of the highest; None below two days.

    A day between the first and the last that was charged nothing, or given back, has no bar.
    """
    most = max(days.values(), default=Decimal(0))
    if len(days) < 2 or most <= 0:
        return None
    first, last = min(days), max(days)
    span = [date.fromordinal(day) for day in range(first.toordinal(), last.toordinal() + 1)]
    heights = [max(0, int(days.get(day, Decimal(0)) * PERMILLE // most)) for day in span]
    amount = group(plain(round_minor(most, currency)))
    return {
        "title": words.say(
            "Charged by day, at most {amount} {currency}", amount=amount, currency=currency
        ),
        "heights": heights,
        "first": first.isoformat(),
        "last": last.isoformat(),
    }
