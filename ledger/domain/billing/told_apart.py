"""Tells lines apart that say the same words, where a price changed in a period."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time

from ledger.domain.billing.draft import LinePrice
from ledger.domain.billing.invoice import InvoiceLine
from ledger.domain.period import zone


def told_apart(
    lines: Sequence[InvoiceLine], prices: Mapping[int, LinePrice], zone_name: str
) -> list[InvoiceLine]:
    """The lines; of those that only their prices tell apart each says since when its price holds,
    if that began inside its period.

    `prices` are those of what was charged. Those of equal terms are one line, and a period has one
    card, so that two which are left began at different times.
    """
    # Tiers of one price stay together: all of its lines say the same of it.
    parts = {price_id: price.part for price_id, price in prices.items()}
    used = {(line.key.meter, line.key.price_id) for line in lines}
    if len({(meter, parts[price_id]) for meter, price_id in used}) == len(used):
        return list(lines)
    said = [(line.key[:8], line.key.used_by, parts[line.key.price_id]) for line in lines]
    ids: dict[object, set[int]] = defaultdict(set)
    for words, line in zip(said, lines, strict=True):
        ids[words].add(line.key.price_id)
    return [
        _named(line, prices, zone_name) if len(ids[words]) > 1 else line
        for words, line in zip(said, lines, strict=True)
    ]


def _named(line: InvoiceLine, prices: Mapping[int, LinePrice], zone_name: str) -> InvoiceLine:
    price = prices[line.key.price_id]
    # A price that was entered again has parts of its validity under several ids.
    alike = (p for p in prices.values() if replace(p, valid_from=price.valid_from) == price)
    since = min(each.valid_from for each in alike)
    if since <= line.key.service_start:
        return line
    part = ", ".join(filter(None, [line.key.part, f"from {_written(since, zone_name)}"]))
    return replace(line, key=line.key._replace(part=part))


def _written(moment: datetime, zone_name: str) -> str:
    local = moment.astimezone(zone(zone_name))
    return f"{local:%F}" if local.time() == time() else f"{local:%F %R}"
