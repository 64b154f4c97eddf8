"""Decides which of an original and its corrections stands: the highest revision, come as it may.

Invariant: what counts is a function of the set of what came, never of its order. A correction names
an original; one that names a correction, a reading or itself is void, and so is one whose key is
bound to customers where the original is another's. Void, once known, is for ever; until then it
waits, and counts for its own customer. Every member that does not count is stored together with its
reversal, or reversed when it is replaced. Keys bound to customers have ids of their own, so that a
name may be of several originals: a correction of the house is of the house's where there is one.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from uuid import UUID

from ledger.domain.frames import keep_rows, only
from ledger.domain.metering.decode import Reject
from ledger.domain.metering.directory import Directory, SourceForm
from ledger.domain.metering.fact import Kind, Reason
from ledger.domain.metering.judge import KEYED, SEQUENCED, new_forms, refuse_forms
from ledger.domain.metering.prepare import Prepared, drop_rows
from ledger.domain.metering.target import CorrectionTarget, target_of

_OWN_NAME = re.compile(r"(\d{1,19})\.(\d{1,19})\.(\d{1,9})", re.ASCII)
_INT8_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row of the call under a target: a correction, or as revision 0 what came under its id.

    `owner` is the customer of a correction whose key is bound to customers, else nobody; of a
    revision 0 it is what the key is bound to. A revision 0 is `original` if it is usage, of
    `customer`; a correction or a reading is not.
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


@dataclass(frozen=True, slots=True)
class Fallen:
    """What stood and stands no more, `by` a row of the call; a reason is given where nothing took
    its place because it should never have stood."""

    stood: StoredRevision
    reason: Reason | None
    by: int


@dataclass(slots=True)
class Verdict:
    """What became of a target's candidates, none of them met before.

    `replaced` stood until now; `belated` stood no more, and are void as is known now.
    """

    superseded: list[int] = field(default_factory=list)
    void: dict[int, Reason] = field(default_factory=dict)
    replaced: list[Fallen] = field(default_factory=list)
    belated: list[Fallen] = field(default_factory=list)


def first_of(
    candidates: Iterable[Candidate], stored: Iterable[StoredRevision]
) -> list[tuple[Candidate, Member]]:
    """Candidates that meet another of the same owner and revision, each with that other.

    What came under an id meets whatever equals it, whoever sent that.
    """
    first: dict[object, Member] = {}
    for revision in stored:
        first[revision.owner, revision.revision] = revision
        if revision.revision == 0:
            first.setdefault(revision.digest, revision)
    met: list[tuple[Candidate, Member]] = []
    for c in candidates:
        equal = first.get(c.digest) if c.revision == 0 else None
        taken = first.get((c.owner, c.revision)) or equal
        if taken is not None:
            met.append((c, taken))
            continue
        first[c.owner, c.revision] = c
        if c.revision == 0:
            first[c.digest] = c
    return met


@dataclass(slots=True)
class _Line:
    """What has come under a target so far: `named` under its own name, `lawful` what is not void,
    `standing` what counts of that."""

    named: list[Member] = field(default_factory=list)
    lawful: list[Member] = field(default_factory=list)
    standing: list[Member] = field(default_factory=list)

    def add(self, came: Sequence[Member]) -> dict[Member, Reason]:
        """Take in what comes at once; which of it, or of what came before, is void now.

        What does not stand never stands again.
        """
        self.named += [member for member in came if member.revision == 0]
        known = [*self.lawful, *came]
        void = {member: why for member in known if (why := _void(member, self.named)) is not None}
        self.lawful = [member for member in known if member not in void]
        there = [member for member in (*self.standing, *came) if member not in void]
        self.standing = _standing(there, self.named)
        return void


def settle(candidates: Sequence[Candidate], stored: Sequence[StoredRevision]) -> Verdict:
    """What candidates of one target change, once those that meet another are gone."""
    line = _Line()
    for _, batch in groupby(sorted(stored, key=_batch_of), key=_batch_of):
        line.add(list(batch))
    before = line.standing
    void = line.add(candidates)
    after = line.standing
    verdict = Verdict()
    for member in candidates:
        if member in void:
            verdict.void[member.row] = void[member]
        elif member not in after and (member.revision or member.original):
            verdict.superseded.append(member.row)
    came = [member for member in (*after, *candidates) if isinstance(member, Candidate)]
    for stood in _stored([*before, *(member for member in void if member not in before)]):
        fallen = Fallen(stood, void.get(stood), _successor(stood, came).row)
        if stood not in before:
            verdict.belated.append(fallen)
        elif stood not in after:
            verdict.replaced.append(fallen)
    return verdict


def _stored(members: Iterable[Member]) -> list[StoredRevision]:
    return [member for member in members if isinstance(member, StoredRevision)]


def _batch_of(revision: StoredRevision) -> int:
    return revision.batch_seq


def _successor(member: Member, came: Sequence[Candidate]) -> Candidate:
    """Which of these took the place of what stood: its customer's correction, else the house's."""
    whose = member.owner if member.revision else member.customer
    corrections = [each for each in came if each.revision]
    own = [each for each in corrections if each.owner == whose]
    return next(iter([*own, *(each for each in corrections if not each.owner), *came]))


def _meant(member: Member, named: Sequence[Member]) -> Sequence[Member]:
    """What a correction names: usage of its customer, of the house's its own; else whatever came
    under the name."""
    own = [each for each in named if each.original and _is_of(member, each)]
    return own or named


def _is_of(member: Member, original: Member) -> bool:
    return original.customer == member.owner if member.owner else not original.owner


def _void(member: Member, named: Sequence[Member]) -> Reason | None:
    """Why a correction can never take effect, once it is known what it names."""
    if not named or member.revision == 0:
        return None
    originals = [each for each in _meant(member, named) if each.original]
    if not originals:
        return Reason.NOT_AN_ORIGINAL
    lawful = not member.owner or any(_is_of(member, each) for each in originals)
    return None if lawful else Reason.FORBIDDEN_TARGET


def _standing(there: Sequence[Member], named: Sequence[Member]) -> list[Member]:
    """What counts: the house's highest revision in place of what it names, else the customer's
    in place of their usage, else an original itself.

    Until the original comes nobody knows whose it is, and each owner's highest counts.
    """
    heads: dict[str, Member] = {}
    for member in there:
        if member.revision and (
            member.owner not in heads or heads[member.owner].revision < member.revision
        ):
            heads[member.owner] = member
    house = heads.pop("", None)
    replaced = [] if house is None else _meant(house, named)
    standing = [] if house is None else [house]
    for customer, head in heads.items():
        mine = [member for member in named if member.original and member.customer == customer]
        if not mine or any(member not in replaced for member in mine):
            standing.append(head)
    originals = [member for member in there if member.original and member not in replaced]
    return [*standing, *(member for member in originals if member.customer not in heads)]


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


def forms_of_taken(prepared: Prepared, directory: Directory) -> list[tuple[str, str, str]]:
    """`new_forms` of what is not refused once it has its form; refuses what decides none by that.

    Who is refused all of its first body is as if it had sent nothing.
    """
    while offered := new_forms(prepared, directory):
        expected = directory.expecting(offered, named_sources(prepared, directory))
        judged = prepared.fork()
        refuse_forms(judged, expected)
        find_targets(judged, expected)
        if new_forms(judged, directory) == offered:
            break
        void = {
            row: said
            for row, said in judged.rejects.items()
            if row not in prepared.rejects and said.reason is not Reason.WRONG_FORM
        }
        prepared.rejects |= void
        drop_rows(prepared, void)
    return offered


def find_targets(prepared: Prepared, directory: Directory) -> dict[int, CorrectionTarget]:
    """What each correction of the call replaces; refuses those that name nothing."""
    columns = ("row", "source", "supersedes", "supersedes_source")
    replaces = prepared.usage["kind"].to_numpy() == Kind.REPLACEMENT
    corrections = keep_rows(only(prepared.usage, columns), replaces)
    ids = prepared.ids(corrections["row"]) if corrections.height else {}
    targets: dict[int, CorrectionTarget] = {}
    for row, source, text, other in corrections.rows():
        event_id, header = ids[row], prepared.header_of(row)
        producer = header.producer if header is not None and not other else ""
        owner = prepared.owner_of(int(prepared.items.owners[row]))
        target = _target(text, directory.sources.get(other or source), producer, owner)
        if not _may_name(prepared, row, other or source):
            detail = f"data.supersedes_source: this key may not write {other}; use its own key"
            prepared.rejects[row] = Reject(Reason.FORBIDDEN_SOURCE, detail, event_id, source)
        elif isinstance(target, str):
            prepared.rejects[row] = Reject(Reason.UNKNOWN_TARGET, target, event_id, source)
        else:
            targets[row] = target
    drop_rows(prepared, prepared.rejects)
    return targets


def _target(
    text: str, known: SourceForm | None, producer: str, owner: str
) -> CorrectionTarget | str:
    """What a correction means by its form, where others may send the same source in another."""
    if known is None:
        return "data.supersedes_source: this source cannot be registered; send its events first"
    forms, form = known.forms(), known.form_of(owner) or known.form
    if SEQUENCED in forms:
        own = _OWN_NAME.fullmatch(text)
        if own and producer:
            text = f"{producer}/{own[1]}/{own[2]}/{own[3]}"
        named = CorrectionTarget(known.source_id, text).named_batch()
        if named is not None and max(named[0].epoch, named[0].sequence) <= _INT8_MAX:
            return target_of(*named)
        if form == SEQUENCED and KEYED not in forms:
            return f"data.supersedes: found {text[:80]}; send producer/epoch/sequence/ordinal"
    # Where its sender has sent nothing yet, its name may turn out to be either.
    sure = form is not None and KEYED in forms
    return CorrectionTarget(known.source_id, text, keyed=True if sure else None)
