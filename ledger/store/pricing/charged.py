"""What was charged in any period: whole days as they are stored, and parts of days worked out.

A charge is kept by day. What is asked of hours, of days of another zone or from noon on is priced
from its usage, by the cards as known at the cut-off: so it may be ahead of what was rated.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from ledger.domain.entity import LegalEntity
from ledger.domain.errors import InvalidInputError
from ledger.domain.period import Period, day_starts
from ledger.domain.pricing.price_list import ListedPrice, spell_out
from ledger.store.pricing.rating import (
    find_cards,
    find_kinds_of_entities,
    list_entities,
)
from ledger.store.queries import Connection

# What `charged_at` is asked for.
Charged: TypeAlias = Mapping[str, object]
# A cut-off behind every batch, as as_it_stands() of the database.
AS_IT_STANDS = 2**63 - 1


async def find_charged(
    connection: Connection,
    within: Period,
    *,
    batch_seq: int,
    entity_id: str | None,
    customer_id: str | None = None,
    days_of: str | None = None,
    in_days: bool = True,
) -> Charged:
    """What `charged_at` is asked for a period, of one entity or all that may be seen.

    In days of the zone `days_of` (None: of no zone, as where nothing is told by day), or in shorter
    steps where not `in_days`.
    """
    whole: list[tuple[str, Period]] = []
    parts: list[tuple[str, Period]] = []
    for entity in await list_entities(connection, entity_id=entity_id):
        days = _whole_days(entity, within, days_of) if in_days else None
        whole += [(entity.entity_id, days)] if days else []
        parts += [(entity.entity_id, part) for part in _rest(within, days)]
    listed = await _listed(connection, parts, customer_id, batch_seq) if parts else []
    return {
        "whole": [_span(*span) for span in whole],
        "parts": [_span(*span) for span in parts],
        "listed": listed,
    }


def _whole_days(entity: LegalEntity, within: Period, days_of: str | None) -> Period | None:
    """The whole days in a period, where the entity's days are those of the zone."""
    own = day_starts(within.start, within.end, entity.zone)
    if days_of not in (None, entity.zone) and own != day_starts(within.start, within.end, days_of):
        return None
    inside = [start for start in own if within.start <= start <= within.end]
    return Period(inside[0], inside[-1]) if len(inside) > 1 else None


def _rest(within: Period, days: Period | None) -> Iterator[Period]:
    if days is None:
        yield within
        return
    if within.start < days.start:
        yield Period(within.start, days.start)
    if days.end < within.end:
        yield Period(days.end, within.end)


def _span(entity_id: str, period: Period) -> dict[str, str]:
    return {
        "entity_id": entity_id,
        "since": period.start.isoformat(),
        "until": period.end.isoformat(),
    }


async def _listed(
    connection: Connection,
    parts: Sequence[tuple[str, Period]],
    customer_id: str | None,
    batch_seq: int,
) -> list[dict[str, object]]:
    kinds = await find_kinds_of_entities(
        connection, periods=parts, customer_id=customer_id, batch_seq=batch_seq
    )
    names = sorted({kind.rate_card_id for kind in kinds})
    cards = await find_cards(connection, rate_card_ids=names, batch_seq=batch_seq) if names else {}
    return [
        _readable(listed)
        for kind in kinds
        for listed in spell_out(cards[kind.rate_card_id], kind.key, kind.within)
    ]


def _readable(listed: ListedPrice) -> dict[str, object]:
    try:
        return listed.as_row()
    except InvalidInputError as error:
        # Rating fails at it and says so; whoever asks for a report is told that it waits.
        return replace(listed, price=None, unpriced=error.wrong).as_row()
