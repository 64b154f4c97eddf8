"""Decides which of an original and its corrections stands: the highest revision, come as it may.

Invariant: what counts is a function of the set of what came, never of its order. A correction names
an original; one that names a correction, a reading or itself is void, and so is one whose key is
bound to customers where the original is another's. Void, once known, is for ever; until then it
waits, and counts for its own customer. Every member that does not count is stored together with its
reversal, or reversed when it is replaced.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from ledger.domain.metering.decode import Reject
from ledger.domain.metering.directory import Directory, SourceForm
from ledger.domain.metering.fact import Kind, Reason
from ledger.domain.metering.judge import KEYED, SEQUENCED
from ledger.domain.metering.prepare import Prepared, drop_rows
from ledger.domain.metering.target import Target, target_of

_OWN_PLACE = re.compile(r"(\d{1,19})\.(\d{1,19})\.(\d{1,9})", re.ASCII)
_INT8_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row of the call under a target: a correction, or as revision 0 what came under its id.

    `owner` is the customer of a correction whose key is bound to customers, else nobody. A
    revision 0 is `original` if it is usage, of `customer`; a correction or a reading is not.
    """

    row: int
    revision: int
    digest: UUID
    owner: str = ""
    original: bool = False
    customer: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRevision:
    """The same, stored, and where."""

    revision: int
    digest: UUID
    batch_seq: int
    ordinal: int
    owner: str = ""
    original: bool = False
    customer: str | None = None


Member = Candidate | StoredRevision


@dataclass(slots=True)
class Verdict:
    """What became of a target's candidates, none of them met before.

    `replaced` is what stood before and stands no more, `by` a row of the call; a reason is given
    where nothing took its place because it should never have stood.
    """

    superseded: list[int] = field(default_factory=list)
    void: dict[int, Reason] = field(default_factory=dict)
    replaced: list[tuple[StoredRevision, Reason | None]] = field(default_factory=list)
    by: int = -1


def first_of(
    candidates: Iterable[Candidate], stored: Iterable[StoredRevision]
) -> list[tuple[Candidate, Member]]:
    """Candidates that meet another of the same owner and revision, each with that other."""
    first: dict[tuple[str, int], Member] = {(one.owner, one.revision): one for one in stored}
    met = [(c, first.setdefault((c.owner, c.revision), c)) for c in candidates]
    return [(one, taken) for one, taken in met if taken is not one]


def settle(candidates: Sequence[Candidate], stored: Sequence[StoredRevision]) -> Verdict:
    """What candidates of one target change, once those that meet another are gone."""
    members: list[Member] = [*stored, *candidates]
    named = next((one for one in members if one.revision == 0), None)
    before, after = _standing(stored), _standing(members)
    verdict = Verdict()
    for one in candidates:
        why = _void(one, named)
        if why is not None:
            verdict.void[one.row] = why
        elif one not in after and (one.revision or one.original):
            verdict.superseded.append(one.row)
    verdict.replaced = [
        (one, _void(one, named))
        for one in before
        if isinstance(one, StoredRevision) and one not in after
    ]
    came = [one.row for one in (*after, named, *candidates) if isinstance(one, Candidate)]
    verdict.by = came[0] if came else -1
    return verdict


def _void(one: Member, named: Member | None) -> Reason | None:
    """Why a correction can never take effect, once it is known what it names."""
    if named is None or one.revision == 0:
        return None
    if not named.original:
        return Reason.NOT_AN_ORIGINAL
    lawful = one.owner in ("", named.customer)
    return None if lawful else Reason.FORBIDDEN_TARGET


def _standing(members: Sequence[Member]) -> Sequence[Member]:
    """What counts: the highest revision of the house, else of the customer, else the original.

    Until the original comes nobody knows whose it is, and each owner's highest counts.
    """
    heads: dict[str, Member] = {}
    named: Member | None = None
    for one in members:
        if one.revision == 0:
            named = one
        elif one.owner not in heads or heads[one.owner].revision < one.revision:
            heads[one.owner] = one
    if named is None:
        return list(heads.values())
    if not named.original:
        return []
    return [heads.get("") or heads.get(named.customer or "") or named]


def named_sources(prepared: Prepared, directory: Directory) -> list[str]:
    """Sources that only corrections name so far, of those that may write them; by name."""
    others = prepared.usage["supersedes_source"]
    if others.null_count() == len(others):
        return []
    named = prepared.usage.select("row", "supersedes_source").drop_nulls()
    return sorted(
        {
            name
            for row, name in named.iter_rows()
            if name not in directory.sources and _may_name(prepared, row, name)
        }
    )


def _may_name(prepared: Prepared, row: int, source: str) -> bool:
    allowed = prepared.records[prepared.items.owners[row]].permission
    return allowed is None or allowed.writes(source)


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
        if not _may_name(prepared, row, other or source):
            detail = f"data.supersedes_source: this key may not write {other}; use its own key"
            prepared.rejects[row] = Reject(Reason.FORBIDDEN_SOURCE, detail, event_id, source)
        elif isinstance(target, str):
            prepared.rejects[row] = Reject(Reason.UNKNOWN_TARGET, target, event_id, source)
        else:
            found[row] = target
    drop_rows(prepared, prepared.rejects)
    return found


def _target(text: str, known: SourceForm | None, producer: str) -> Target | str:
    if known is None:
        return "data.supersedes_source: this source cannot be registered; send its events first"
    if known.form != SEQUENCED:
        return Target(known.source_id, text, keyed=True if known.form == KEYED else None)
    own = _OWN_PLACE.fullmatch(text)
    if own and producer:
        text = f"{producer}/{own[1]}/{own[2]}/{own[3]}"
    target = Target(known.source_id, text)
    place = target.place()
    if place is None or max(place[0].epoch, place[0].sequence) > _INT8_MAX:
        return f"data.supersedes: found {text[:80]}; send producer/epoch/sequence/ordinal"
    at, ordinal = place
    return target_of(at, ordinal)
