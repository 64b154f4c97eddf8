"""Keeps prices that a run spelled out: most days are priced by those of the days before."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ledger.domain.errors import ConflictError, InvalidInputError
from ledger.domain.period import Period, hull
from ledger.domain.pricing.plain_days import PlainPrices, plain_prices
from ledger.domain.pricing.price_list import ListedPrice, number_kinds
from ledger.domain.pricing.rate_card import UsageKey
from ledger.flows.pricing.periods import RatedDays
from ledger.flows.pricing.price_book import PriceBook
from ledger.store.pricing import rating
from ledger.store.pricing.rating import UsedKind

Done = TypeVar("Done")
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
    _plain: tuple[Sequence[ListedPrice], PlainPrices] | None = None

    @property
    def may_do(self) -> bool:
        """Whether days are likely to need no others."""
        return bool(self.listed) and self.missed < MISSES_MAX

    def plain(self, listed: Sequence[ListedPrice]) -> PlainPrices:
        """Listed prices for plain days, made once while they are the same."""
        if self._plain is None or self._plain[0] is not listed:
            self._plain = listed, plain_prices(listed, number_kinds(listed))
        return self._plain[1]

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


async def with_prices(
    known: KnownPrices,
    rated: RatedDays,
    work: Callable[[Sequence[ListedPrice]], Awaitable[Done | None]],
) -> Done:
    """What `work` makes of prices: those that days before had, where these are enough for it, and
    else, as None says, those of what was used on the days."""
    done = await work(known.listed) if known.may_do else None
    if done is not None:
        known.missed = 0
        return done
    known.missed += 1
    kinds = await rating.find_kinds(
        rated.context.connection, periods=rated.days, batch_seq=rated.context.cut_off.batch_seq
    )
    done = await work(known.spell_out(kinds, rated.span))
    if done is None:
        raise ConflictError("What was used changed below a cut-off.", "Run `tokenledger check`.")
    return done


def _is_readable(listed: ListedPrice) -> bool:
    try:
        listed.as_row()
    except InvalidInputError:
        return False
    return True
