"""Tells lines apart that say the same words, where a price changed in a period."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time

from ledger.domain.billing.draft import LinePrice
from ledger.domain.billing.invoice import InvoiceLine, LineKey
from ledger.domain.period import zone


def told_apart(
    lines: Sequence[InvoiceLine], prices: Mapping[int, LinePrice], zone_name: str
) -> list[InvoiceLine]:
    """The lines; of those that only their prices tell apart each says since when its price holds,
    if that began inside its period.

    `prices` are those of what was charged. Those of equal terms are one line, and a period has one
    card, so that two which are left began at different times.
    """
    ids: dict[LineKey, set[int]] = defaultdict(set)
    for line in lines:
        ids[_words(line, prices)].add(line.key.price_id)
    if all(len(each) < 2 for each in ids.values()):
        return list(lines)
    return [
        _named(line, prices, zone_name) if len(ids[_words(line, prices)]) > 1 else line
        for line in lines
    ]


def _words(line: InvoiceLine, prices: Mapping[int, LinePrice]) -> LineKey:
    # Tiers of one price stay together: all of its lines say the same of it.
    return line.key._replace(price_id=0, part=prices[line.key.price_id].part)


def _named(line: InvoiceLine, prices: Mapping[int, LinePrice], zone_name: str) -> InvoiceLine:
    price = prices[line.key.price_id]
    # A price that was entered again has parts of its validity under several ids.
    alike = (
        each for each in prices.values() if replace(each, valid_from=price.valid_from) == price
    )
    since = min(each.valid_from for each in alike)
    if since <= line.key.service_start:
        return line
    part = ", ".join(filter(None, [line.key.part, f"from {_written(since, zone_name)}"]))
    return replace(line, key=line.key._replace(part=part))


def _written(moment: datetime, zone_name: str) -> str:
    local = moment.astimezone(zone(zone_name))
    return f"{local:%F}" if local.time() == time() else f"{local:%F %R}"
