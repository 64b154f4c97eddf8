"""Entries of the journal by day of the entity, each on top of what its day has booked already."""

from collections.abc import Mapping, Sequence

from ledger.domain.books.journal import JournalEntry, Posting
from ledger.domain.parked import Part
from ledger.domain.period import Period, day_of, local_day
from ledger.flows.stage import StageContext
from ledger.store.books.journal import add_to_entries
from ledger.store.connect import draw_batch_seq
from ledger.store.queries import Connection


def days_to_book(context: StageContext, kind: str, parts: Sequence[Part]) -> dict[str, Period]:
    """The days that begin with these parts, by the natural key of their entry of a kind."""
    entity = context.entity
    return {
        f"{kind}:{entity.entity_id}:{start:%Y-%m-%dT%H:%MZ}": local_day(
            day_of(start, entity.zone), entity.zone
        )
        for _, start in parts
    }


async def book_days(
    connection: Connection,
    context: StageContext,
    days: Mapping[str, Period],
    postings: Mapping[str, tuple[Posting, ...]],
    *,
    kind: str,
    description: str,
) -> int:
    """Book postings of days, by their natural keys; how many entries were written."""
    entries = [
        JournalEntry(
            entity_id=context.entity.entity_id,
            kind=kind,
            natural_key=key,
            booked_for=days[key].start,
            description=description,
            postings=of_day,
        )
        for key, of_day in postings.items()
    ]
    batch_seq = await draw_batch_seq(connection)
    return await add_to_entries(connection, entries, context.cut_off, batch_seq)
