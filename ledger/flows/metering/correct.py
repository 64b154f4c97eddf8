"""Settles corrections against their originals, stored or in the same call, whichever came first."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import polars as pl

from ledger.domain.errors import ConflictError, UnavailableError
from ledger.domain.metering.batch_identity import BatchIdentity
from ledger.domain.metering.decode import Reject
from ledger.domain.metering.fact import Fate, Kind, Reason
from ledger.domain.metering.identities import (
    AWAITED,
    Conflict,
    EventId,
    NewBatch,
    NewEvent,
    NewEvents,
)
from ledger.domain.metering.prepare import Prepared
from ledger.domain.metering.settled import Replaced, Settled, settle_all
from ledger.domain.metering.supersede import Candidate, Member, StoredRevision
from ledger.domain.metering.target import CorrectionTarget, event_target, target_of
from ledger.flows.metering.find_facts import (
    find_event_ids,
    find_first_facts,
    find_standing_facts,
)
from ledger.store.metering.correction import FateChange, find_corrected_ids, find_corrections
from ledger.store.metering.event_keys import find_event_keys
from ledger.store.metering.extras import find_extras, find_filed_extras
from ledger.store.metering.ingest import find_batches
from ledger.store.queries import Connection

Lines = dict[CorrectionTarget, list[Candidate]]
Known = dict[CorrectionTarget, list[StoredRevision]]
FactKey = tuple[int, int]
T = TypeVar("T")
DETAILS = {
    Reason.NOT_AN_ORIGINAL: (
        "data.supersedes: {} is a correction or a reading; name the original, and a higher revision"
    ),
    Reason.FORBIDDEN_TARGET: (
        "data.supersedes: {} is not usage of this customer, and the key is bound to its customers"
    ),
    Reason.TARGET_AWAY: "data.supersedes: {} cannot be read now: {}",
}


@dataclass(frozen=True, slots=True)
class Undone:
    """A stored correction that turned out to be void: the ordinal of its reversal, or one of its
    own where it was reversed before, and why."""

    ordinal: int
    source_id: int
    reject: Reject


@dataclass(slots=True)
class Corrected:
    """What corrections came to: fates of rows, facts to reverse with their extras, and what to
    remember.

    `void` rows are kept with their reversals and take their ids, `undone` are stored ones of the
    kind; `away` rows need facts that cannot be read now, and take nothing.
    """

    fates: dict[int, Fate] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    revisions: list[tuple[CorrectionTarget, Candidate]] = field(default_factory=list)
    awaited: list[NewEvent] = field(default_factory=list)
    void: dict[int, Reject] = field(default_factory=dict)
    away: dict[int, Reject] = field(default_factory=dict)
    undone: list[Undone] = field(default_factory=list)
    changes: list[FateChange] = field(default_factory=list)
    reversals: pl.DataFrame | None = None
    extras: pl.DataFrame | None = None


async def settle_corrections(
    connection: Connection,
    prepared: Prepared,
    *,
    targets: Mapping[int, CorrectionTarget],
    events: NewEvents,
    batches: Sequence[NewBatch],
    awaited: Mapping[int, EventId],
    replayed: Mapping[int, CorrectionTarget],
) -> Corrected:
    """`targets` of the call's corrections, `events` and `batches` that are new to the ledger.

    `awaited` are rows whose ids a stored correction took before they came, `replayed` rows that
    were quarantined when their numbered batch was stored.
    """
    identities = [batch.identity for batch in batches]
    late = await find_corrected_ids(connection, identities) if identities else []
    late += [event_target(event) for event in awaited.values()]
    if replayed:
        late += await find_corrections(connection, sorted(set(replayed.values())))
    if not targets and not late:
        return Corrected()
    lines = _lines(prepared, targets, _named(events.listed(), batches, awaited, replayed), late)
    known, away = await _find_known(connection, lines)
    while True:
        gone = {candidate.row: name for name in sorted(away) for candidate in lines[name]}
        settled = settle_all(lines, known, gone=gone)
        standing, unread = await _read_standing(connection, settled.replaced)
        if not unread:
            break
        away |= unread
    corrected = _corrected(prepared, settled)
    corrected.away = _rejects(
        prepared, {row: (Reason.TARGET_AWAY, name, away[name]) for row, name in gone.items()}
    )
    first = _reverse(corrected, settled.replaced, standing, first_ordinal=len(prepared.items))
    if corrected.reversals is not None:
        corrected.extras = await find_extras(connection, corrected.reversals)
    await _void_belated(connection, corrected, settled.belated, first_ordinal=first)
    return corrected


def _named(
    events: Iterable[NewEvent],
    batches: Iterable[NewBatch],
    awaited: Mapping[int, EventId],
    replayed: Mapping[int, CorrectionTarget],
) -> dict[int, CorrectionTarget]:
    """What a correction would call each row that is new to the ledger."""
    named = {event.ordinal: event_target(event.event) for event in events}
    named |= {row: event_target(event) for row, event in awaited.items()} | dict(replayed)
    for batch in batches:
        for ordinal in range(batch.events):
            named[batch.ordinal_from + ordinal] = target_of(batch.identity, ordinal)
    return named


def _lines(
    prepared: Prepared,
    targets: Mapping[int, CorrectionTarget],
    named: Mapping[int, CorrectionTarget],
    late: Iterable[CorrectionTarget],
) -> Lines:
    """The rows of the call under each target: corrections of it, and what came under its id."""
    usage = prepared.usage.select("row", "kind", "revision", "customer_id")
    said = {row: rest for row, *rest in usage.iter_rows()}
    asked = {*targets.values(), *late, *(named[row] for row in targets if row in named)}
    alive = said.keys() | {row for f in prepared.readings.values() for row in f["row"]}
    came = [(row, name) for row, name in named.items() if name in asked and row in alive]
    digests = prepared.digests({*(row for row, _ in came), *targets})
    lines: Lines = defaultdict(list)
    for row, name in sorted(came):
        kind, _, customer_id = said.get(row, (None, 0, None))
        original = kind == Kind.ORIGINAL
        owner, whose = prepared.owner_of(int(prepared.items.owners[row])), customer_id
        lines[name].append(
            Candidate(row, 0, digests[row], owner, original, whose if original else None)
        )
    for row, target in sorted(targets.items()):
        if row in said:
            _, revision, customer_id = said[row]
            owner = customer_id if _is_bound(prepared, row) else ""
            lines[target].append(Candidate(row, revision, digests[row], owner))
    return dict(lines)


def _is_bound(prepared: Prepared, row: int) -> bool:
    allowed = prepared.records[prepared.items.owners[row]].permission
    return allowed is not None and bool(allowed.customers)


async def _find_known(
    connection: Connection, lines: Lines
) -> tuple[Known, dict[CorrectionTarget, str]]:
    """What is stored under each target, whose it is, and what cannot be read to say so."""
    # In this order: what an id came with, a correction or not, is committed together with the id.
    holders = await _find_holders(connection, sorted(lines))
    stored = await find_corrections(connection, sorted(lines))
    late = [
        (name, revision)
        for name, members in stored.items()
        for revision in members
        if revision.original
    ]
    told = {
        (n, revision.owner)
        for n, members in stored.items()
        for revision in members
        if not revision.revision
    }
    firsts = [*late, *(each for each in holders if (each[0], each[1].owner) not in told)]
    judged, away = await _judge(connection, firsts)
    known: Known = {
        n: [revision for revision in stored.get(n, ()) if not revision.original] for n in lines
    }
    for name, first in judged:
        known[name].append(first)
    return {name: members for name, members in known.items() if members}, away


Held = list[tuple[CorrectionTarget, StoredRevision]]


async def _find_holders(connection: Connection, names: Sequence[CorrectionTarget]) -> Held:
    """What holds each name's id or place, whatever it is, of each owner."""
    keyed = {EventId(n.source_id, n.target): n for n in names if n.keyed is not False}
    events = await find_event_keys(connection, list(keyed)) if keyed else {}
    holders = [
        (keyed[event], StoredRevision(0, at.digest, at.batch_seq, at.ordinal, at.owner))
        for event, at in events.items()
        if at.digest != AWAITED
    ]
    placed: list[tuple[CorrectionTarget, BatchIdentity, int]] = [
        (name, *named) for name in names if (named := name.named_batch()) is not None
    ]
    batches = (
        await find_batches(connection, [identity for _, identity, _ in placed]) if placed else {}
    )
    for name, identity, ordinal in placed:
        for at in batches.get(identity, ()):
            if ordinal < at.events:
                row = at.ordinal_from + ordinal
                holders.append((name, StoredRevision(0, at.digest, at.batch_seq, row, at.owner)))
    return holders


async def _judge(connection: Connection, firsts: Held) -> tuple[Held, dict[CorrectionTarget, str]]:
    """Whether each is usage, and whose; without places of what nobody could read so far."""
    keys = [(revision.batch_seq, revision.ordinal) for _, revision in firsts]
    facts, unread = await _each(find_first_facts, connection, keys)
    judged_all: Held = []
    for n, fact in facts.items():
        name, first = firsts[n]
        if fact.is_usage or not fact.refused:
            judged = replace(first, original=fact.is_usage, customer=fact.customer_id)
            judged_all.append((name, judged))
    return judged_all, {firsts[n][0]: why for n, why in unread.items()}


async def _read_standing(
    connection: Connection, replaced: Sequence[Replaced]
) -> tuple[dict[int, pl.DataFrame], dict[CorrectionTarget, str]]:
    keys = [(replacement.stood.batch_seq, replacement.stood.ordinal) for replacement in replaced]
    standing, unread = await _each(_find_standing, connection, keys)
    return standing, {replaced[n].target: why for n, why in unread.items()}


async def _find_standing(
    connection: Connection, keys: Sequence[FactKey]
) -> dict[int, pl.DataFrame]:
    facts = await find_standing_facts(connection, keys)
    # Asked for here, where a file that is away is a matter of its own correction.
    await find_filed_extras(connection, facts)
    return {n: facts.filter(pl.col("n") == n) for n in facts["n"]}


async def _each(
    find: Callable[[Connection, Sequence[FactKey]], Awaitable[dict[int, T]]],
    connection: Connection,
    keys: Sequence[FactKey],
) -> tuple[dict[int, T], dict[int, str]]:
    """What is found at each place, all at once; one by one where some of it cannot be read."""
    if not keys:
        return {}, {}
    try:
        return await find(connection, keys), {}
    except (UnavailableError, ConflictError) as error:
        if len(keys) == 1:
            return {}, {0: str(error)}
    facts: dict[int, T] = {}
    unread: dict[int, str] = {}
    for n, key in enumerate(keys):
        alone, none = await _each(find, connection, [key])
        facts.update((n, fact) for fact in alone.values())
        unread.update((n, why) for why in none.values())
    return facts, unread


def _corrected(prepared: Prepared, settled: Settled) -> Corrected:
    void = {row: (why, name, "") for row, (why, name) in settled.void.items()}
    return Corrected(
        fates=settled.fates,
        conflicts=[_conflict(name, candidate, taken) for name, candidate, taken in settled.refused],
        revisions=settled.kept,
        awaited=[
            NewEvent(EventId(name.source_id, name.target), AWAITED, row)
            for name, row in settled.awaited
        ],
        void=_rejects(prepared, void),
    )


def _conflict(name: CorrectionTarget, offered: Candidate, taken: Member) -> Conflict:
    stored = taken if isinstance(taken, StoredRevision) else None
    return Conflict(
        ordinal=offered.row,
        source_id=name.source_id,
        event_id=f"{name.target}@{offered.revision}",
        stored_digest=taken.digest,
        offered_digest=offered.digest,
        stored_batch_seq=stored.batch_seq if stored else None,
        stored_ordinal=taken.ordinal if isinstance(taken, StoredRevision) else taken.row,
    )


def _rejects(
    prepared: Prepared, rows: Mapping[int, tuple[Reason, CorrectionTarget, str]]
) -> dict[int, Reject]:
    if not rows:
        return {}
    ids = prepared.ids(rows)
    sources = {
        row: of for f in prepared.frames for row, of in f.select("row", "source").iter_rows()
    }
    return {
        row: Reject(why, DETAILS[why].format(_shown(name), more), ids[row], sources[row])
        for row, (why, name, more) in rows.items()
    }


def _shown(name: CorrectionTarget) -> str:
    return name.target[:80]


def _reverse(
    corrected: Corrected,
    replaced: Sequence[Replaced],
    standing: Mapping[int, pl.DataFrame],
    *,
    first_ordinal: int,
) -> int:
    """Take back what stood; the first ordinal that is free after it."""
    if not standing:
        return first_ordinal
    facts = pl.concat([standing[n] for n in sorted(standing)])
    rows = facts.select("batch_seq", "ordinal", "source_id", "event_id", "customer_id").rows()
    for ordinal, (n, row) in enumerate(zip(sorted(standing), rows, strict=True)):
        replacement, (batch_seq, fact_ordinal, source_id, event_id, customer_id) = replaced[n], row
        fate = Fate.SUSPENSE if customer_id is None else Fate.COUNTED
        to_fate, why = Fate.SUPERSEDED, "corrected"
        if replacement.reason is not None:
            to_fate, why = Fate.QUARANTINED, str(replacement.reason)
            detail = DETAILS[replacement.reason].format(_shown(replacement.target))
            reject = Reject(replacement.reason, detail, event_id)
            corrected.undone.append(Undone(first_ordinal + ordinal, source_id, reject))
        corrected.changes.append(
            FateChange(replacement.by, batch_seq, fact_ordinal, fate, to_fate, why)
        )
    ordinals = pl.int_range(first_ordinal, first_ordinal + pl.len(), dtype=pl.Int32)
    corrected.reversals = facts.with_columns(
        fact_ordinal="ordinal",
        ordinal=ordinals,
        kind=pl.lit(int(Kind.REVERSAL), pl.Int8),
        sign=pl.lit(-1, pl.Int64),
    )
    return first_ordinal + facts.height


async def _void_belated(
    connection: Connection,
    corrected: Corrected,
    belated: Sequence[Replaced],
    *,
    first_ordinal: int,
) -> None:
    """What was superseded is void as well, as if what it names had come first: its fact is taken
    back already, and its fate changes."""
    facts = [(each.stood.batch_seq, each.stood.ordinal) for each in belated]
    event_ids, _ = await _each(find_event_ids, connection, facts)
    for n, each in enumerate(belated):
        assert each.reason is not None
        name, fact = each.target, facts[n]
        detail = DETAILS[each.reason].format(_shown(name))
        reject = Reject(each.reason, detail, event_ids.get(n))
        corrected.undone.append(Undone(first_ordinal + n, name.source_id, reject))
        corrected.changes.append(
            FateChange(each.by, *fact, Fate.SUPERSEDED, Fate.QUARANTINED, str(each.reason))
        )
