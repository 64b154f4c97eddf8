"""Turns what was granted and what was charged into which grant pays for what.

Invariant: at no place in the order of days has a grant paid more than it holds or less than
nothing, and usage draws what it may of one grant before it draws of the next.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from ledger.domain.exchange import Conversion
from ledger.domain.money import EXACT, ZERO, round_minor, total


@dataclass(frozen=True, slots=True)
class Grant:
    """Money that pays for usage of [starts_on, expires_on); no meters or models are any."""

    grant_id: str
    customer_id: str
    kind: str
    currency: str
    amount: Decimal
    priority: int
    meters: frozenset[str]
    models: frozenset[str]
    granted_on: date
    starts_on: date
    expires_on: date | None

    @property
    def order(self) -> tuple[int, date, date, str]:
        """What is drawn first: by priority, then what expires first, then the oldest."""
        return (self.priority, self.expires_on or date.max, self.granted_on, self.grant_id)

    def pays_for(self, use: "ChargedUse", day: date) -> bool:
        """Whether it may pay for a charge of that local day."""
        return (
            self.currency == use.currency
            and self.starts_on <= day
            and (self.expires_on is None or day < self.expires_on)
            and (not self.meters or use.kind.meter in self.meters)
            and (not self.models or use.kind.model in self.models)
        )


@dataclass(frozen=True, slots=True, order=True)
class UseKind:
    """What is told apart of a day's charges when grants are drawn."""

    subscription_id: str
    meter: str
    model: str


@dataclass(frozen=True, slots=True)
class ChargedUse:
    """What a day was charged for a kind of usage; below zero where a price took back."""

    day_start: datetime
    kind: UseKind
    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Draw:
    """What a grant pays of a day's charges; below zero where it gets back."""

    grant_id: str
    day_start: datetime
    kind: UseKind
    currency: str
    amount: Decimal


Drawn = Mapping[tuple[str, UseKind], Decimal]


def draw_down(
    grants: Iterable[Grant],
    uses: Sequence[tuple[date, ChargedUse]],
    before: Drawn,
) -> Iterator[Draw]:
    """What grants pay of charges, with the local day of each, given what they paid of days before.

    What a later day takes back of a kind of usage goes back to the grants that paid for it, the
    last in order first. Nothing else decides: the same days give the same draws whenever asked.
    """
    drawn: dict[tuple[str, UseKind], Decimal] = defaultdict(lambda: ZERO, before)
    ordered = sorted(grants, key=lambda grant: grant.order)
    left = {grant.grant_id: grant.amount for grant in ordered}
    for (grant_id, _), amount in before.items():
        left[grant_id] = EXACT.subtract(left[grant_id], amount)
    for day, use in sorted(uses, key=lambda each: (each[1].day_start, each[1].kind)):
        if use.amount < 0:
            parts = _given_back(use, ordered, drawn)
        else:
            parts = _taken(use, [grant for grant in ordered if grant.pays_for(use, day)], left)
        for grant_id, amount in parts:
            left[grant_id] = EXACT.subtract(left[grant_id], amount)
            drawn[grant_id, use.kind] = EXACT.add(drawn[grant_id, use.kind], amount)
            yield Draw(grant_id, use.day_start, use.kind, use.currency, amount)


def _taken(
    use: ChargedUse, grants: Sequence[Grant], left: Mapping[str, Decimal]
) -> Iterator[tuple[str, Decimal]]:
    wanted = use.amount
    for grant in grants:
        part = min(wanted, left[grant.grant_id])
        if part > 0:
            wanted = EXACT.subtract(wanted, part)
            yield grant.grant_id, part


def _given_back(
    use: ChargedUse, grants: Sequence[Grant], drawn: Mapping[tuple[str, UseKind], Decimal]
) -> Iterator[tuple[str, Decimal]]:
    wanted = EXACT.minus(use.amount)
    for grant in reversed(grants):
        if grant.currency != use.currency:
            continue
        part = min(wanted, drawn.get((grant.grant_id, use.kind), ZERO))
        if part > 0:
            wanted = EXACT.subtract(wanted, part)
            yield grant.grant_id, EXACT.minus(part)


def draw_changes(now: Iterable[Draw], stored: Iterable[Draw]) -> list[Draw]:
    """What must be stored on top of `stored` to arrive at `now`, in order."""
    sums: dict[tuple[datetime, UseKind, str, str], Decimal] = defaultdict(lambda: ZERO)
    for sign, draws in ((Decimal(1), now), (Decimal(-1), stored)):
        for draw in draws:
            key = (draw.day_start, draw.kind, draw.grant_id, draw.currency)
            sums[key] = EXACT.add(sums[key], EXACT.multiply(sign, draw.amount))
    return [
        Draw(grant_id, day_start, kind, currency, amount)
        for (day_start, kind, grant_id, currency), amount in sorted(sums.items())
        if amount
    ]


@dataclass(frozen=True, slots=True)
class Applied:
    """What a grant pays of an invoice: what it was drawn for in the currency of the prices
    (`charged_amount`) and of the invoice, and of that in whole minor units."""

    grant_id: str
    charged_amount: Decimal
    exact_amount: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class ToPay:
    """What an invoice says: its lines before rounding in the currency of their prices and after it
    in its own, all that it asks for, and by what one becomes the other."""

    exact: Decimal
    rounded: Decimal
    payable: Decimal
    conversion: Conversion | None = None

    def own(self, amount: Decimal) -> Decimal:
        """An amount in the currency of prices in that of the invoice."""
        return amount if self.conversion is None else self.conversion.of(amount)


def apply_draws(
    drawn: Sequence[tuple[str, Decimal]], asked: ToPay, *, currency: str, mode: str
) -> list[Applied]:
    """What was drawn, by grant in the order of drawing, as it pays an invoice.

    It pays up to what the invoice says before rounding, and of one that gives back it takes no more
    back; the rest waits for another invoice. What is left to pay is rounded once, so an invoice
    that was drawn whole asks for its tax and for nothing else.
    """
    exact = _within(drawn, asked)
    rest = EXACT.subtract(asked.exact, total(list(exact.values())))
    amount = EXACT.subtract(asked.rounded, round_minor(asked.own(rest), currency, mode))
    applied, given = [], ZERO
    for number, (grant_id, part) in enumerate(exact.items(), start=1):
        own = asked.own(part)
        rounded = round_minor(own, currency, mode)
        if number == len(exact):
            rounded = EXACT.subtract(amount, given)
        given = EXACT.add(given, rounded)
        applied.append(Applied(grant_id, part, own, rounded))
    return applied


def _within(drawn: Sequence[tuple[str, Decimal]], asked: ToPay) -> dict[str, Decimal]:
    """Parts whose sum is at most what is asked for: above zero they fill it, below they make room;
    of an invoice that gives back, those below zero take at most what it gives."""
    back = [(grant_id, amount) for grant_id, amount in drawn if amount < 0]
    forth = [(grant_id, amount) for grant_id, amount in drawn if amount > 0]
    parts: dict[str, Decimal] = {}
    floor = min(ZERO, asked.exact) if asked.payable < 0 else None
    for grant_id, amount in back:
        part = amount
        if floor is not None:
            part = max(amount, EXACT.subtract(floor, total(list(parts.values()))))
        if part:
            parts[grant_id] = part
    unpaid = EXACT.subtract(asked.exact, total(list(parts.values())))
    for grant_id, amount in forth:
        part = min(amount, max(unpaid, ZERO))
        if part:
            parts[grant_id] = part
            unpaid = EXACT.subtract(unpaid, part)
    return parts
