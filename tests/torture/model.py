"""What the books must say, worked out one event at a time from the rules, slowly and apart.

Nothing of the ledger's own ingest is used here: this is the other opinion.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

WINDOW_S = 900
WINDOW_US = WINDOW_S * 1_000_000
Identity = tuple[str | int, ...]


@dataclass(frozen=True)
class Attempt:
    """One content of one event; `uncached` is a number no other content has. Times in µs.

    `owner` is the customer of a correction whose sender may write usage of its customers only.
    """

    identity: Identity
    uncached: int
    customer: str
    project: str
    model: str
    tier: str
    engine: str
    started: int
    first_token: int
    ended: int
    cache_read: int
    visible: int
    reasoning: int
    target: Identity | None = None
    revision: int = 0
    owner: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Who and what it is billed under."""
        return (self.customer, self.project, self.model, self.tier)


@dataclass(frozen=True)
class Delivery:
    """One record as it was sent: the contents in it, and how many items nobody can read.

    `place` names a numbered batch, whose events count or fail together; None is events by id.
    """

    attempts: tuple[Attempt, ...]
    bad: int = 0
    place: Identity | None = None

    def claims(self) -> list[tuple[Identity, tuple[int, ...]]]:
        """Each identity in it, and what it says under that."""
        if self.place is not None:
            return [(self.place, tuple(a.uncached for a in self.attempts))]
        return [(a.identity, (a.uncached,)) for a in self.attempts]


@dataclass
class Truth:
    """The expected books."""

    fates: Counter[str] = field(default_factory=Counter)
    usage: Counter[tuple[object, ...]] = field(default_factory=Counter)
    work: Counter[tuple[object, ...]] = field(default_factory=Counter)
    busy: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    stored: frozenset[int] = frozenset()


def contents(deliveries: Iterable[Delivery]) -> dict[Identity, list[tuple[int, ...]]]:
    """The different contents sent under each identity: of a batch, those of all its events."""
    found: dict[Identity, list[tuple[int, ...]]] = {}
    for one in deliveries:
        for identity, said in one.claims():
            variants = found.setdefault(identity, [])
            if said not in variants:
                variants.append(said)
    return found


def work_out(
    deliveries: Iterable[Delivery],
    first: Mapping[Identity, tuple[int, ...]],
    known: frozenset[str],
) -> Truth:
    """The books after all deliveries; `first` says which content of an identity came first."""
    truth = Truth()
    taken: set[Identity] = set()
    stored: list[Attempt] = []
    for one in deliveries:
        for identity, said in one.claims():
            size = len(said) + (one.bad if one.place is not None else 0)
            if said != first[identity]:
                truth.fates["conflict"] += size
            elif identity in taken:
                truth.fates["duplicate"] += size
            else:
                taken.add(identity)
                mine = [a for a in one.attempts if one.place is not None or a.identity == identity]
                stored += mine
                truth.fates["quarantined"] += size - len(said)
        if one.place is None:
            truth.fates["quarantined"] += one.bad
    for attempt in _standing(truth, stored, known):
        truth.fates["counted" if attempt.customer in known else "suspense"] += 1
        _bill(truth, attempt)
        _spread(truth, attempt)
    for attempt in stored:
        _keep_busy(truth, attempt)
    truth.stored = frozenset(a.uncached for a in stored)
    return truth


def _standing(truth: Truth, stored: Iterable[Attempt], known: frozenset[str]) -> list[Attempt]:
    """What counts of all that is stored; the fates of the rest are added."""
    named = {attempt.identity: attempt for attempt in stored}
    corrections: dict[Identity, list[Attempt]] = {}
    for attempt in stored:
        if attempt.target is not None:
            corrections.setdefault(attempt.target, []).append(attempt)
    standing = [a for a in stored if a.target is None and a.identity not in corrections]
    for target, line in corrections.items():
        original = named.get(target)
        if original is not None and original.target is not None:
            # They correct a correction, themselves perhaps: whichever came first, none counts.
            truth.fates["quarantined"] += len(line)
            continue
        lawful = [a for a in line if original is None or _may_correct(a, original, known)]
        truth.fates["quarantined"] += len(line) - len(lawful)
        stand = _highest(lawful, original)
        truth.fates["superseded"] += len(lawful) + (original is not None) - len(stand)
        standing += stand
    return standing


def _may_correct(one: Attempt, original: Attempt, known: frozenset[str]) -> bool:
    """The house may correct all, a customer's key what is known to be that customer's."""
    return not one.owner or (one.owner == original.customer and one.owner in known)


def _highest(lawful: Iterable[Attempt], original: Attempt | None) -> list[Attempt]:
    """The house's last word, else the customer's own, else the original; of an original that never
    came each owner's last word counts."""
    heads: dict[str, Attempt] = {}
    for one in lawful:
        if one.owner not in heads or heads[one.owner].revision < one.revision:
            heads[one.owner] = one
    if original is None:
        return list(heads.values())
    return [heads.get("") or heads.get(original.customer) or original]


def _bill(truth: Truth, one: Attempt) -> None:
    place = (*one.key, one.ended // WINDOW_US)
    counts = {
        "requests": 1,
        "uncached": one.uncached,
        "cache_read": one.cache_read,
        "visible": one.visible,
        "reasoning": one.reasoning,
    }
    for meter, count in counts.items():
        truth.usage[*place, meter] += count


def _spread(truth: Truth, one: Attempt) -> None:
    legs = {
        "uncached": (one.uncached, one.started, one.first_token),
        "cache_read": (one.cache_read, one.started, one.first_token),
        "output": (one.visible + one.reasoning, one.first_token, one.ended),
    }
    for meter, (total, since, until) in legs.items():
        for window in range(since // WINDOW_US, until // WINDOW_US + 1):
            low = max(window * WINDOW_US, since)
            high = min((window + 1) * WINDOW_US, until)
            if until == since:
                part = total if window == since // WINDOW_US else 0
            else:
                part = total * (max(high, since) - since) // (until - since)
                part -= total * (max(low, since) - since) // (until - since)
            truth.work[one.engine, *one.key, window, meter] += part


def _keep_busy(truth: Truth, one: Attempt) -> None:
    last = max(one.started, one.ended - 1)
    for second in range(one.started // 1_000_000, last // 1_000_000 + 1):
        place = (one.engine, second // WINDOW_S)
        truth.busy.setdefault(place, set()).add(second % WINDOW_S)
