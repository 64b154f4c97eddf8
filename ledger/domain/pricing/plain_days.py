"""Prices plain days as columns: days of many customers, each under one card, of nothing but tokens
and requests.

Invariant: what is returned is exact; a day of which any part would not be is not priced at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from ledger.domain.arrays import Bools, Ints
from ledger.domain.compiled import compiled
from ledger.domain.halves import HALF, Halves, products
from ledger.domain.money import EXACT
from ledger.domain.period import EPOCH, MICROSECOND
from ledger.domain.pricing.price_list import ListedPrice
from ledger.domain.pricing.price_model import Basis
from ledger.domain.pricing.rate_card import METERS, UsageKey

COUNTED = (*METERS, "requests")
# In place of a price: none that is plain, and none that is asked for.
_ODD, _UNASKED = -1, -2
_REQUESTS = COUNTED.index("requests")


class PlainWindows(NamedTuple):
    """Rows of windows: the place of their day, and of their usage key among `usage_key_ids`, when
    they begin, and what they count, a row for each of COUNTED."""

    days: Ints
    keys: Ints
    starts: Ints
    counts: Ints
    usage_key_ids: Ints


class Stretches(NamedTuple):
    """Stretches of time, in order, each with the place of a price for each of COUNTED; those of a
    group, which is a card and kind, begin at its first."""

    firsts: Ints
    sinces: Ints
    untils: Ints
    indexes: Ints


@dataclass(frozen=True, slots=True)
class PlainPrices:
    """Prices, each with the units of so many decimals that one of what is counted costs, and when
    they apply to which numbered card and kind."""

    prices: Sequence[ListedPrice]
    units: Ints
    decimals: Ints
    cards: Mapping[str, int]
    kinds: Mapping[UsageKey, int]
    stretches: Stretches


@dataclass(frozen=True, slots=True)
class PlainCharges:
    """Charges as columns, by the place of their day and by usage key, of a meter and a price by
    their places; and of each day its requests, and whether it is odd: not plain after all, so that
    there is nothing of it here."""

    prices: PlainPrices
    days: Ints
    usage_key_ids: Ints
    meters: Ints
    indexes: Ints
    quantities: Ints
    requests: Ints
    odd: Bools

    @property
    def amounts(self) -> tuple[Halves, Ints]:
        """The exact amount of each, in units of so many decimals, which are those of its price."""
        units, decimals = self.prices.units[self.indexes], self.prices.decimals[self.indexes]
        return products(self.quantities, units), decimals


def plain_prices(listed: Sequence[ListedPrice], kinds: Mapping[UsageKey, int]) -> PlainPrices:
    """Listed prices as price_days reads them, given the number of each kind."""
    cards: dict[str, int] = {}
    prices: dict[int, tuple[int, ListedPrice]] = {}
    indexes: dict[tuple[int, int, int], list[int]] = {}
    for each in listed:
        if each.meter in COUNTED:
            card = cards.setdefault(each.card.rate_card_id, len(cards))
            group = card * len(kinds) + kinds[each.key]
            stretch = group, _micros(each.since), _micros(each.until)
            row = indexes.setdefault(stretch, [*(_ODD for _ in METERS), _UNASKED])
            row[COUNTED.index(each.meter)] = _index_of(each, prices)
    every = (each.each_amount for _, each in prices.values())
    amounts = [amount for amount in every if amount is not None]
    decimals = [_decimals(amount) for amount in amounts]
    units = [int(EXACT.scaleb(*each)) for each in zip(amounts, decimals, strict=True)]
    return PlainPrices(
        [each for _, each in prices.values()],
        np.array(units, np.int64),
        np.array(decimals, np.int64),
        cards,
        kinds,
        _stretches(indexes, len(cards) * len(kinds)),
    )


def _index_of(listed: ListedPrice, prices: dict[int, tuple[int, ListedPrice]]) -> int:
    """The place of a price, a new one for one that has none; _ODD where there is more to it than
    what a unit costs."""
    price, amount = listed.price, listed.each_amount
    if price is None or amount is None or listed.basis is not Basis.EACH:
        return _ODD
    if amount >= EXACT.scaleb(HALF, -_decimals(amount)):
        return _ODD
    return prices.setdefault(price.price_id, (len(prices), listed))[0]


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def _decimals(amount: Decimal) -> int:
    return max(0, -int(amount.as_tuple().exponent))


def _stretches(indexes: Mapping[tuple[int, int, int], Sequence[int]], groups: int) -> Stretches:
    ordered = sorted(indexes)
    group, sinces, untils = np.array(ordered, np.int64).reshape(-1, 3).T.copy()
    table = np.array([indexes[each] for each in ordered], np.int64).reshape(-1, len(COUNTED))
    return Stretches(np.searchsorted(group, np.arange(groups + 1)), sinces, untils, table)


def price_days(
    windows: PlainWindows, kinds: Ints, cards: Ints, prices: PlainPrices
) -> PlainCharges | None:
    """What windows come to, given the number of each usage key's kind and of each day's card, -1
    for another; None where prices of any of it are not listed."""
    kind, card = kinds[windows.keys], cards[windows.days]
    groups = np.where((kind < 0) | (card < 0), -1, card * len(prices.kinds) + kind)
    odd, requests = _has_large(windows, cards.size), np.zeros(cards.size, np.int64)
    charges = np.empty((5, np.count_nonzero(windows.counts)), np.int64)
    order = np.lexsort((windows.keys, windows.days))
    filled = _charge(order, windows, groups, prices.stretches, charges, requests, odd)
    if filled < 0:
        return None
    requests[odd] = 0
    kept = np.flatnonzero(~odd[charges[0, :filled]])
    return PlainCharges(
        prices,
        days=charges[0, kept],
        usage_key_ids=windows.usage_key_ids[charges[1, kept]],
        meters=charges[2, kept],
        indexes=charges[3, kept],
        quantities=charges[4, kept],
        requests=requests,
        odd=odd,
    )


def _has_large(windows: PlainWindows, days: int) -> Bools:
    """Of each day, whether sums of its counts may have more than a half of digits."""
    most = (HALF - 1) // max(windows.days.size, 1)
    odd = np.zeros(days, np.bool_)
    odd[windows.days[((windows.counts > most) | (windows.counts < -most)).any(axis=0)]] = True
    return odd


@compiled
def _charge(
    order: Ints,
    windows: PlainWindows,
    groups: Ints,
    stretches: Stretches,
    charges: Ints,
    requests: Ints,
    odd: Bools,
) -> int:
    """Fill in what each day and usage key comes to, and return how many charges that is; -1 where
    a price is not listed."""
    begin, filled = 0, 0
    at = np.empty(order.size, np.int64)
    while begin < order.size:
        day, key, end = windows.days[order[begin]], windows.keys[order[begin]], begin
        while end < order.size and windows.days[order[end]] == day:
            row = order[end]
            if windows.keys[row] != key:
                break
            at[end] = _stretch(stretches, groups[row], windows.starts[row])
            if at[end] < 0:
                return -1
            requests[day] += windows.counts[_REQUESTS, row]
            end += 1
        for meter in range(windows.counts.shape[0]):
            first = filled
            for n in range(begin, end):
                count, index = windows.counts[meter, order[n]], stretches.indexes[at[n], meter]
                if count != 0 and index == _ODD:
                    odd[day] = True
                elif count != 0 and index >= 0:
                    filled = _add(charges, first, filled, (day, key, meter, index, count))
            filled = _drop_nothing(charges, first, filled)
        begin = end
    return filled


@compiled
def _stretch(stretches: Stretches, group: int, start: int) -> int:
    """The stretch of a group that a window lies in; -1 for none."""
    if group < 0:
        return -1
    first, last = stretches.firsts[group], stretches.firsts[group + 1]
    behind = first + np.searchsorted(stretches.sinces[first:last], start, side="right")
    return behind - 1 if behind > first and start < stretches.untils[behind - 1] else -1


@compiled
def _add(charges: Ints, first: int, filled: int, charge: tuple[int, int, int, int, int]) -> int:
    """Add to the charge at the same price, or make one; returns where charges end now."""
    for n in range(first, filled):
        if charges[3, n] == charge[3]:
            charges[4, n] += charge[4]
            return filled
    for n in range(len(charge)):
        charges[n, filled] = charge[n]
    return filled + 1


@compiled
def _drop_nothing(charges: Ints, first: int, filled: int) -> int:
    """Close up over charges of nothing; returns where they end now."""
    kept = first
    for n in range(first, filled):
        if charges[4, n] != 0:
            charges[:, kept] = charges[:, n]
            kept += 1
    return kept
