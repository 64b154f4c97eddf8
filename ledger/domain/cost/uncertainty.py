"""How far energy and cost of users may be from true: by their meters, estimates and weights.

Invariant: weights only move what deployments took from one user to another, so that all users of
one together have no uncertainty by them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

# What a board's meter may be off, unless somebody held it against another one.
METER = Fraction(5, 100)
# By what part each kind of token may weigh otherwise; None: nobody knows.
KindUncertainty: TypeAlias = Mapping[str, Fraction] | None
# Shares of users that are equal but for what division left.
_EQUAL = Fraction(1, 10**9)


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """By what part energy and cost may be off, and cost by weights alone; None is unknown."""

    energy: Fraction | None = None
    cost: Fraction | None = None
    moved: Fraction | None = None


UNKNOWN = Uncertainty()


@dataclass(slots=True)
class Taking:
    """What a user, or all of them, took of a scope, and of it the kinds of tokens."""

    energy: Fraction = Fraction(0)
    cost: Fraction = Fraction(0)
    estimated: Fraction = Fraction(0)
    electricity: Fraction = Fraction(0)
    energies: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    costs: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))

    def add(self, other: "Taking") -> None:
        """Take in another."""
        for name in ("energy", "cost", "estimated", "electricity"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, more in ((self.energies, other.energies), (self.costs, other.costs)):
            for kind, part in more.items():
                mine[kind] += part


def uncertainties(
    users: Sequence[Mapping[str, Taking]], weights: Mapping[str, KindUncertainty]
) -> list[Uncertainty]:
    """Of users, each by scope, where these are all users of them."""
    whole: dict[str, Taking] = defaultdict(Taking)
    for user in users:
        for scope, taking in user.items():
            whole[scope].add(taking)
    return [_uncertainty(user, whole, weights) for user in users]


def uncertainty_of_all(takings: Iterable[Taking]) -> Uncertainty:
    """Of all users and what is nobody's: no weight moves anything of it."""
    whole = Taking()
    for each in takings:
        whole.add(each)
    return _measured(whole, Fraction(0), Fraction(0))


def of_full_cost(
    own: Uncertainty, cost: Fraction, idle: Fraction, sites: Fraction, of_idle: Uncertainty
) -> Fraction | None:
    """By what part the cost of users may be off with their shares of idle, which may be off too,
    and of sites: both go by what users were attributed."""
    whole = abs(cost + idle + sites)
    by_meter = Fraction(0) if not idle else of_idle.cost
    if own.cost is None or own.moved is None or by_meter is None or not whole:
        return None
    off = abs(cost) * own.cost + abs(idle) * by_meter + (abs(idle) + abs(sites)) * own.moved
    return Fraction(off, whole)


def _uncertainty(
    user: Mapping[str, Taking], whole: Mapping[str, Taking], weights: Mapping[str, KindUncertainty]
) -> Uncertainty:
    all_of_it = Taking()
    energy: Fraction | None = Fraction(0)
    cost: Fraction | None = Fraction(0)
    for scope, taking in user.items():
        all_of_it.add(taking)
        of_scope, known = whole[scope], weights.get(scope)
        energy = _plus(energy, _moved(taking.energies, of_scope.energies, known), taking.energy)
        cost = _plus(cost, _moved(taking.costs, of_scope.costs, known), taking.cost)
    return _measured(all_of_it, energy, cost)


def _plus(so_far: Fraction | None, part: Fraction | None, of: Fraction) -> Fraction | None:
    return None if so_far is None or part is None else so_far + part * abs(of)


def _moved(
    mine: Mapping[str, Fraction], whole: Mapping[str, Fraction], known: KindUncertainty
) -> Fraction | None:
    """By what part a user's share of a scope may be off: where its kinds are those of all, not."""
    mine_sum, sum_of_all = sum(mine.values()), sum(whole.values())
    if not mine_sum or not sum_of_all:
        return Fraction(0)
    apart = {
        kind: abs(Fraction(mine.get(kind, Fraction(0)), mine_sum) - Fraction(part, sum_of_all))
        for kind, part in whole.items()
    }
    if max(apart.values()) <= _EQUAL:
        return Fraction(0)
    return None if known is None else sum((known[k] * p for k, p in apart.items()), Fraction(0))


def _measured(whole: Taking, energy: Fraction | None, cost: Fraction | None) -> Uncertainty:
    """With what meters and estimates leave open."""
    by_meter = METER + Fraction(whole.estimated, whole.energy) if whole.energy else Fraction(0)
    moved = None if cost is None or not whole.cost else Fraction(cost, abs(whole.cost))
    return Uncertainty(
        None if energy is None or not whole.energy else Fraction(energy, whole.energy) + by_meter,
        None
        if moved is None
        else moved + Fraction(by_meter * abs(whole.electricity), abs(whole.cost)),
        moved,
    )
