"""Keeps prices that a run spelled out: most days are priced by those of the days before."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ledger.domain.errors import InvalidInputError
from ledger.domain.period import Period, hull
from ledger.domain.pricing.price_list import ListedPrice
from ledger.domain.pricing.rate_card import UsageKey
from ledger.flows.pricing.price_book import PriceBook
from ledger.store.pricing.rating import UsedKind

# Beyond so many kinds of usage to send all their prices along takes longer than to look them up.
KINDS_MAX = 256
# Where others were used so many times one after the other, no more are expected to be alike.
MISSES_MAX = 3


@dataclass(slots=True)
class KnownPrices:
    """What kinds of usage cost that days before these had, and how often it was too little."""

    book: PriceBook
    kinds: dict[tuple[str, UsageKey], UsedKind] = field(default_factory=dict)
    listed: Sequence[ListedPrice] = ()
    missed: int = 0

    @property
    def may_do(self) -> bool:
        """Whether days are likely to need no others."""
        return bool(self.listed) and self.missed < MISSES_MAX

    def spell_out(self, kinds: Iterable[UsedKind], span: Period) -> Sequence[ListedPrice]:
        """The prices of what was used on days of a span, with those of days before and of the whole
        span for days to come; of what was used alone where nobody can read all of these."""
        used = list(kinds)
        wide = {} if len(self.kinds) + len(used) > KINDS_MAX else dict(self.kinds)
        for kind in used:
            name = kind.rate_card_id, kind.key
            within = hull(span, wide[name].within) if name in wide else span
            wide[name] = replace(kind, within=within)
        listed = list(self.book.spell_out([*wide.values()]))
        if len(used) > KINDS_MAX or not all(map(_is_readable, listed)):
            return list(self.book.spell_out(used))
        self.kinds, self.listed = wide, listed
        return listed


def _is_readable(listed: ListedPrice) -> bool:
    try:
        listed.as_row()
    except InvalidInputError:
        return False
    return True
