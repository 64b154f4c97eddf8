"""Settles all targets of a call at once: who holds an id, who is a revision of what, what stands.

Invariant: each row is at most once a revision and once what came under its own id; of both kinds
the first counts, equal content is a duplicate and other content a conflict, which holds nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ledger.domain.metering.fact import Fate, Reason
from ledger.domain.metering.identities import same_content
from ledger.domain.metering.supersede import Candidate, Member, StoredRevision, first_of, settle
from ledger.domain.metering.target import CorrectionTarget

Lines = Mapping[CorrectionTarget, Sequence[Candidate]]
Known = Mapping[CorrectionTarget, Sequence[StoredRevision]]


@dataclass(frozen=True, slots=True)
class Replaced:
    """What stood under a target and stands no more, for the row `by`, or because it is void."""

    target: CorrectionTarget
    stood: StoredRevision
    by: int
    reason: Reason | None


@dataclass(slots=True)
class Settled:
    """What becomes of a call's rows and of what is stored.

    `fates` has the rows that are not counted, but for `void` ones; `refused` are conflicts with
    what they met; `kept` is to be remembered, `awaited` are targets that nothing came under yet.
    `belated` are superseded corrections of which it is known now that they are void.
    """

    fates: dict[int, Fate] = field(default_factory=dict)
    refused: list[tuple[CorrectionTarget, Candidate, Member]] = field(default_factory=list)
    kept: list[tuple[CorrectionTarget, Candidate]] = field(default_factory=list)
    void: dict[int, tuple[Reason, CorrectionTarget]] = field(default_factory=dict)
    replaced: list[Replaced] = field(default_factory=list)
    belated: list[Replaced] = field(default_factory=list)
    awaited: list[tuple[CorrectionTarget, int]] = field(default_factory=list)


def settle_all(lines: Lines, known: Known, *, gone: Collection[int] = ()) -> Settled:
    """The rows of a call by target, in their order, but for those that are `gone`."""
    settled = Settled()
    alive = {
        name: [candidate for candidate in lines[name] if candidate.row not in gone]
        for name in sorted(lines)
    }
    for held in (True, False):
        met = {
            name: first_of([c for c in line if (c.revision == 0) is held], known.get(name, ()))
            for name, line in alive.items()
        }
        lost = _meet(settled, met)
        # Who is refused holds no id, nor who repeats one; who repeats a revision holds its own.
        alive = {
            name: [c for c in line if not _is_lost(c, lost, held)] for name, line in alive.items()
        }
    for name, line in alive.items():
        if line:
            _settle_one(settled, name, line, known.get(name, ()))
    return settled


Met = Mapping[CorrectionTarget, Sequence[tuple[Candidate, Member]]]


def _meet(settled: Settled, met: Met) -> dict[int, Fate]:
    lost: dict[int, Fate] = {}
    for name, pairs in met.items():
        for candidate, taken in pairs:
            equal = same_content(taken.digest, candidate.digest)
            lost[candidate.row] = Fate.DUPLICATE if equal else Fate.CONFLICT
            settled.refused += [] if equal else [(name, candidate, taken)]
    settled.fates.update(lost)
    return lost


def _is_lost(candidate: Candidate, lost: Mapping[int, Fate], held: bool) -> bool:
    fate = lost.get(candidate.row)
    return fate is not None and (held or candidate.revision > 0 or fate is Fate.CONFLICT)


def _settle_one(
    settled: Settled,
    name: CorrectionTarget,
    line: Sequence[Candidate],
    stored: Sequence[StoredRevision],
) -> None:
    verdict = settle(line, stored)
    settled.kept += [(name, revision) for revision in line]
    settled.fates.update(dict.fromkeys(verdict.superseded, Fate.SUPERSEDED))
    settled.void.update({row: (why, name) for row, why in verdict.void.items()})
    for fallen, told in ((verdict.replaced, settled.replaced), (verdict.belated, settled.belated)):
        told += [Replaced(name, each.stood, each.by, each.reason) for each in fallen]
    if name.keyed is not False and not stored and all(revision.revision for revision in line):
        settled.awaited.append((name, line[0].row))
