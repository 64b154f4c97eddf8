"""Settles corrections against their originals, stored or in the same call, whichever came first."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from ledger.domain.fact import Fate, Kind
from ledger.domain.ingest.claims import (
    AWAITED,
    BatchClaim,
    Conflict,
    EventClaim,
    EventClaims,
    EventId,
)
from ledger.domain.ingest.place import BatchPlace
from ledger.domain.ingest.prepare import Prepared
from ledger.domain.ingest.supersede import (
    Candidate,
    StoredRevision,
    Verdict,
    settle,
)
from ledger.domain.ingest.target import Target, event_target, target_of
from ledger.flows.archived_facts import find_standing_facts
from ledger.store.correction import (
    FateChange,
    find_corrected_places,
    find_corrections,
)
from ledger.store.ingest import find_batches, find_event_keys
from ledger.store.queries import Connection


@dataclass(slots=True)
class Corrected:
    """What corrections came to: fates of rows, facts to reverse, and what to remember."""

    fates: dict[int, Fate] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    revisions: list[tuple[Target, Candidate]] = field(default_factory=list)
    awaited: list[EventClaim] = field(default_factory=list)
    changes: list[FateChange] = field(default_factory=list)
    reversals: pl.DataFrame | None = None


async def settle_corrections(
    connection: Connection,
    prepared: Prepared,
    *,
    targets: Mapping[int, Target],
    events: EventClaims,
    batches: Sequence[BatchClaim],
    awaited: Mapping[int, EventId],
    replayed: Mapping[int, Target],
) -> Corrected:
    """`targets` of the call's corrections, `events` and `batches` that are new to the ledger.

    `awaited` are rows whose ids a stored correction took before they came, `replayed` rows that
    were quarantined when their numbered batch was stored.
    """
    places = [claim.place for claim in batches]
    late = await find_corrected_places(connection, places) if places else []
    late += [event_target(event) for event in awaited.values()]
    if replayed:
        late += await find_corrections(connection, sorted(set(replayed.values())))
    if not targets and not late:
        return Corrected()
    originals = _originals(prepared, events.listed(), batches, awaited, replayed)
    involved = _candidates(prepared, targets, originals, late)
    names = sorted(involved)
    stored = await find_corrections(connection, names)
    firsts = await _find_originals(connection, [n for n in names if n not in originals])
    found = Corrected()
    replaced: list[tuple[Target, StoredRevision, int]] = []
    for name in names:
        known = ({0: firsts[name]} if name in firsts else {}) | stored.get(name, {})
        verdict = settle(involved[name], known)
        _keep(found, name, verdict)
        if not known and name not in originals and name.place() is None and verdict.by is not None:
            claim = EventId(name.source_id, name.target)
            found.awaited.append(EventClaim(claim, AWAITED, verdict.by))
        if verdict.replaced is not None and verdict.by is not None:
            replaced.append((name, verdict.replaced, verdict.by))
    await _reverse(connection, found, replaced, first_ordinal=len(prepared.items))
    return found


def _candidates(
    prepared: Prepared,
    targets: Mapping[int, Target],
    originals: Mapping[Target, Sequence[int]],
    late: Iterable[Target],
) -> dict[Target, list[Candidate]]:
    revisions = dict(prepared.usage.select("row", "revision").iter_rows())
    firsts = [
        (name, row)
        for name in {*targets.values(), *late} & originals.keys()
        for row in originals[name]
    ]
    digests = prepared.digests([*(row for _, row in firsts), *targets])
    involved: dict[Target, list[Candidate]] = defaultdict(list)
    for name, row in firsts:
        involved[name].append(Candidate(row, 0, digests[row]))
    for row, target in targets.items():
        if row in revisions:
            involved[target].append(Candidate(row, revisions[row], digests[row]))
    return dict(involved)


async def _find_originals(
    connection: Connection, names: list[Target]
) -> dict[Target, StoredRevision]:
    keyed = {EventId(n.source_id, n.target): n for n in names}
    events = await find_event_keys(connection, list(keyed))
    found = {
        keyed[event]: StoredRevision(0, at.digest, at.batch_seq, at.ordinal)
        for event, at in events.items()
        if at.digest != AWAITED
    }
    placed: list[tuple[Target, BatchPlace, int]] = [
        (name, *named) for name in names if (named := name.place()) is not None
    ]
    batches = await find_batches(connection, [place for _, place, _ in placed])
    for name, place, ordinal in placed:
        at = batches.get(place)
        if at is not None and ordinal < at.events:
            found[name] = StoredRevision(0, at.digest, at.batch_seq, at.ordinal_from + ordinal)
    return found


def _keep(found: Corrected, name: Target, verdict: Verdict) -> None:
    found.fates.update(verdict.fates)
    found.revisions += [(name, one) for one in verdict.kept]
    for offered, taken in verdict.met:
        found.conflicts.append(
            Conflict(
                ordinal=offered.row,
                source_id=name.source_id,
                event_id=f"{name.target}@{offered.revision}",
                stored_digest=taken.digest,
                offered_digest=offered.digest,
                stored_batch_seq=taken.batch_seq if isinstance(taken, StoredRevision) else None,
                stored_ordinal=taken.ordinal if isinstance(taken, StoredRevision) else taken.row,
            )
        )


async def _reverse(
    connection: Connection,
    found: Corrected,
    replaced: list[tuple[Target, StoredRevision, int]],
    *,
    first_ordinal: int,
) -> None:
    if not replaced:
        return
    places = [(one.batch_seq, one.ordinal) for _, one, _ in replaced]
    standing = await find_standing_facts(connection, places)
    for n, batch_seq, ordinal, customer_id in standing.select(
        "n", "batch_seq", "ordinal", "customer_id"
    ).iter_rows():
        fate = Fate.SUSPENSE if customer_id is None else Fate.COUNTED
        by = replaced[n][2]
        found.changes.append(FateChange(by, batch_seq, ordinal, fate, Fate.SUPERSEDED, "corrected"))
    ordinals = pl.int_range(first_ordinal, first_ordinal + pl.len(), dtype=pl.Int32)
    found.reversals = standing.with_columns(
        ordinal=ordinals, kind=pl.lit(int(Kind.REVERSAL), pl.Int8), sign=pl.lit(-1, pl.Int64)
    )


def _originals(
    prepared: Prepared,
    events: Iterable[EventClaim],
    batches: Iterable[BatchClaim],
    awaited: Mapping[int, EventId],
    replayed: Mapping[int, Target],
) -> dict[Target, list[int]]:
    """Rows of the call that are originals, by what a correction would name them."""
    usage = prepared.usage.filter(pl.col("kind") == Kind.ORIGINAL)
    named = [(event_target(c.event), c.ordinal) for c in events]
    named += [(event_target(e), row) for row, e in awaited.items()]
    named += [(target, row) for row, target in replayed.items()]
    named += [
        (target_of(claim.place, ordinal), claim.ordinal_from + ordinal)
        for claim in batches
        for ordinal in range(claim.events)
    ]
    rows = set(usage["row"])
    found: dict[Target, list[int]] = defaultdict(list)
    for name, row in named:
        if row in rows:
            found[name].append(row)
    return dict(found)
