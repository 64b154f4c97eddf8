"""The journal: entries appended as differences to what earlier revisions booked.

What belongs to a closed month is booked in the one that is open, under its own natural key.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields

from ledger.domain.books.booking import CHART
from ledger.domain.books.journal import JournalEntry, Posting, difference
from ledger.store.connect import CutOff
from ledger.store.copying import copy_text
from ledger.store.queries import Connection, load_queries

JOURNAL = load_queries("books/journal")
_POSTED = tuple(field.name for field in fields(Posting))


async def book_entries(
    connection: Connection, entries: Sequence[JournalEntry], cut_off: CutOff, batch_seq: int
) -> int:
    """Append what each natural key lacks to be as given; returns how many entries were written.

    Revision n books the difference to revisions before n; an entry without postings takes all back.
    """
    booked, revisions = await _find_booked(connection, [entry.natural_key for entry in entries])
    changes = [
        (entry, revisions.get(entry.natural_key, 0) + 1, postings)
        for entry in entries
        if (postings := difference(entry.postings, booked[entry.natural_key]))
    ]
    if changes:
        await _insert_accounts(connection)
        await _append(connection, changes, cut_off, batch_seq)
    return len(changes)


async def add_to_entries(
    connection: Connection, entries: Sequence[JournalEntry], cut_off: CutOff, batch_seq: int
) -> int:
    """Append entries as they are, each on top of what its natural key has booked; returns how many
    were written."""
    added = [entry for entry in entries if entry.postings]
    if not added:
        return 0
    revisions = await JOURNAL["find_revisions"].rows(
        connection, natural_keys=[entry.natural_key for entry in added]
    )
    last = {row["natural_key"]: row["revision"] for row in revisions}
    await _insert_accounts(connection)
    changes = [(entry, last.get(entry.natural_key, 0) + 1, entry.postings) for entry in added]
    await _append(connection, changes, cut_off, batch_seq)
    return len(added)


async def _find_booked(
    connection: Connection, natural_keys: Sequence[str]
) -> tuple[dict[str, list[Posting]], dict[str, int]]:
    booked: dict[str, list[Posting]] = defaultdict(list)
    revisions: dict[str, int] = {}
    for row in await JOURNAL["find_booked"].rows(connection, natural_keys=list(natural_keys)):
        key = row["natural_key"]
        revisions[key] = max(revisions.get(key, 0), row["revision"])
        if row["account"] is not None:
            booked[key].append(Posting(**{name: row[name] for name in _POSTED}))
    return booked, revisions


async def _insert_accounts(connection: Connection) -> None:
    chart = list(CHART.values())
    await JOURNAL["insert_accounts"].run(
        connection,
        accounts=[account.account for account in chart],
        names=[account.name for account in chart],
        types=[account.type for account in chart],
    )


async def _append(
    connection: Connection,
    changes: Sequence[tuple[JournalEntry, int, tuple[Posting, ...]]],
    cut_off: CutOff,
    batch_seq: int,
) -> None:
    entities = [entry.entity_id for entry, _, _ in changes]
    await JOURNAL["hold_months"].rows(connection, entities=entities)
    rows = await JOURNAL["insert_entries"].rows(
        connection,
        entities=entities,
        kinds=[entry.kind for entry, _, _ in changes],
        natural_keys=[entry.natural_key for entry, _, _ in changes],
        revisions=[revision for _, revision, _ in changes],
        booked_for=[entry.booked_for for entry, _, _ in changes],
        customers=[entry.customer_id for entry, _, _ in changes],
        descriptions=[entry.description for entry, _, _ in changes],
        cut_off_id=cut_off.cut_off_id,
        batch_seq=batch_seq,
    )
    ids = {row["natural_key"]: row["entry_id"] for row in rows}
    await _insert_postings(
        connection,
        [
            (ids[entry.natural_key], line_no, posting)
            for entry, _, postings in changes
            for line_no, posting in enumerate(postings, start=1)
        ],
    )


async def _insert_postings(
    connection: Connection, lines: Sequence[tuple[int, int, Posting]]
) -> None:
    """All postings of some entries in one statement, which must balance for each entry."""
    rows = [
        (entry_id, line_no, *(getattr(posting, name) for name in _POSTED))
        for entry_id, line_no, posting in lines
    ]
    await copy_text(connection, "posting", ("entry_id", "line_no", *_POSTED), rows)
