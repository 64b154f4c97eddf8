"""Decides which of an original and its corrections stands: the highest revision, come as it may.

Invariant: at any time at most one revision of a target counts; every other one is stored together
with its reversal, or reversed when it is replaced.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from ledger.domain.fact import Fate, Kind, Reason
from ledger.domain.ingest.decode import Reject
from ledger.domain.ingest.directory import Directory, SourceForm
from ledger.domain.ingest.judge import KEYED
from ledger.domain.ingest.prepare import Prepared, drop_rows
from ledger.domain.ingest.target import Target, target_of

_OWN_PLACE = re.compile(r"(\d{1,19})\.(\d{1,19})\.(\d{1,9})", re.ASCII)
_INT8_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row of the call that claims to be a revision of a target; an original is revision 0."""

    row: int
    revision: int
    digest: UUID


@dataclass(frozen=True, slots=True)
class StoredRevision:
    """A revision that is stored, and where."""

    revision: int
    digest: UUID
    batch_seq: int
    ordinal: int


@dataclass(slots=True)
class Verdict:
    """What became of a target's candidates; `replaced` is what stood before, `by` the row that
    stands now, `kept` the candidates to be remembered as revisions."""

    fates: dict[int, Fate] = field(default_factory=dict)
    kept: list[Candidate] = field(default_factory=list)
    met: list[tuple[Candidate, StoredRevision | Candidate]] = field(default_factory=list)
    replaced: StoredRevision | None = None
    by: int | None = None


def settle(candidates: Sequence[Candidate], stored: Mapping[int, StoredRevision]) -> Verdict:
    """The candidates of one target, in their order, against what is stored of it."""
    verdict = Verdict()
    first: dict[int, Candidate] = {}
    for candidate in candidates:
        taken = stored.get(candidate.revision) or first.setdefault(candidate.revision, candidate)
        if taken is not candidate:
            equal = taken.digest == candidate.digest
            verdict.fates[candidate.row] = Fate.DUPLICATE if equal else Fate.CONFLICT
            verdict.met += [] if equal else [(candidate, taken)]
    verdict.kept = list(first.values())
    stands = max(stored, default=-1)
    for candidate in verdict.kept:
        if candidate.revision == max(first) and candidate.revision > stands:
            verdict.by, verdict.replaced = candidate.row, stored.get(stands)
        else:
            verdict.fates[candidate.row] = Fate.SUPERSEDED
    return verdict


def find_targets(prepared: Prepared, directory: Directory) -> dict[int, Target]:
    """What each correction of the call replaces; refuses those that name nothing."""
    columns = ("row", "source", "supersedes", "supersedes_source")
    corrections = prepared.usage.filter(prepared.usage["kind"] == Kind.REPLACEMENT)
    ids = prepared.ids(corrections["row"]) if corrections.height else {}
    found: dict[int, Target] = {}
    for row, source, text, other in corrections.select(columns).iter_rows():
        event_id, header = ids[row], prepared.header_of(row)
        producer = header.producer if header is not None and not other else ""
        target = _target(text, directory.sources.get(other or source), producer)
        allowed = prepared.records[prepared.items.owners[row]].permission
        if isinstance(target, str):
            why = Reject(Reason.UNKNOWN_TARGET, target, event_id, source)
            prepared.rejects[row] = why
        elif allowed is not None and not allowed.writes(other or source):
            detail = f"data.supersedes_source: this key may not write {other}; use its own key"
            prepared.rejects[row] = Reject(Reason.FORBIDDEN_SOURCE, detail, event_id, source)
        else:
            found[row] = target
    drop_rows(prepared, prepared.rejects)
    return found


def _target(text: str, known: SourceForm | None, producer: str) -> Target | str:
    if known is None:
        return "data.supersedes_source: no such source has sent anything; send its events first"
    if known.form == KEYED:
        return Target(known.source_id, text, keyed=True)
    own = _OWN_PLACE.fullmatch(text)
    if own and producer:
        text = f"{producer}/{own[1]}/{own[2]}/{own[3]}"
    target = Target(known.source_id, text)
    place = target.place()
    if place is None or max(place[0].epoch, place[0].sequence) > _INT8_MAX:
        return f"data.supersedes: found {text[:80]}; send producer/epoch/sequence/ordinal"
    at, ordinal = place
    return target_of(at, ordinal)
