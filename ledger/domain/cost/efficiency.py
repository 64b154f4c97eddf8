"""Turns sums of energy, its cost and what it emitted and drank into rows that add up to the whole.

Invariant: in mJ, in 1e-12 of the currency and in 1e-6 g or ml, the rows and the lines that are
nobody's add up to the total, and the kinds of token of a row to the row.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import floor
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, TypedDict

from ledger.domain.apportion import apportion, units_of
from ledger.domain.cost.uncertainty import (
    UNKNOWN,
    KindUncertainty,
    Taking,
    Uncertainty,
    uncertainties,
    uncertainty_of_all,
)
from ledger.domain.money import divide_half_even
from ledger.domain.period import WINDOW_SECONDS
from ledger.wire.grid_inputs import GRID_KINDS
from ledger.wire.units import MJ_PER_KWH

TOKEN_KINDS = ("input_uncached", "input_cache_read", "input_cache_write", "output")
# What a user is called, in the order in which the store says it.
NAMED = ("model", "customer", "tier", "agent", "project", "api_key", "adapter", "region")
DIMENSIONS = (*NAMED, "day")
MEASURES = ("energy_mj", "cost", *GRID_KINDS)
MICRO = 10**6
# What a kWh takes times mJ times seconds, both finer than one, is one of these: 1e-18.
FINEST = 18
_PER_MICRO = MJ_PER_KWH * WINDOW_SECONDS * 10**FINEST // MICRO
Key: TypeAlias = tuple[str, ...]
NOTHING_KNOWN: Mapping[str, KindUncertainty] = MappingProxyType({})


class EfficiencySum(NamedTuple):
    """What a scope's line of one user took on a day (None: of any), and of it a kind of token.
    `named` is what NAMED says of the user, None where nobody asked.

    Grams and ml are mJ times what a kWh takes times seconds of a quarter hour; `no_` is energy for
    which a series says nothing.
    """

    scope: str
    line: str
    currency: str
    named: Sequence[str | None] | None
    day: date | None
    kind: str
    energy_mj: int
    cost: Decimal
    carbon_location: Decimal
    carbon_market: Decimal
    water: Decimal
    no_carbon_location_mj: int
    no_carbon_market_mj: int
    no_water_mj: int
    part_energy_mj: Decimal
    part_cost: Decimal
    part_carbon_location: Decimal
    part_carbon_market: Decimal
    part_water: Decimal
    estimated_mj: int
    electricity: Decimal


class KindSum(NamedTuple):
    """Tokens of one user on a day (None: of any), by kind."""

    named: Sequence[str | None] | None
    day: date | None
    input_uncached: int
    input_cache_read: int
    input_cache_write: int
    output: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What something took: mJ, 1e-12 of the currency, 1e-6 g and ml; None is unknown."""

    energy_mj: int
    cost: int
    carbon_location: int | None
    carbon_market: int | None
    water: int | None


@dataclass(frozen=True, slots=True)
class EfficiencyRow:
    """A group, or a line that is nobody's; what kinds of token took is None where weights of the
    scope do not tell. `uncertainty` is how far it may be off: unknown where it took any energy of a
    scope that `is_implausible`. `estimated_mj` is what no meter measured of its boards' energy."""

    group: Key
    tokens: Mapping[str, int]
    taken: Taken
    by_kind: Mapping[str, Taken] | None = None
    uncertainty: Uncertainty = UNKNOWN
    is_implausible: bool = False
    estimated_mj: int = 0


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Rows of groups, lines of nobody (`line` and scope), and all of it."""

    rows: tuple[EfficiencyRow, ...]
    own_lines: tuple[EfficiencyRow, ...]
    total: EfficiencyRow


@dataclass(slots=True)
class _Sums:
    whole: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MEASURES, 0))
    without: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GRID_KINDS, 0))
    parts: dict[str, dict[str, Fraction]] = field(
        default_factory=lambda: {kind: dict.fromkeys(MEASURES, Fraction(0)) for kind in TOKEN_KINDS}
    )
    takings: dict[str, Taking] = field(default_factory=lambda: defaultdict(Taking))

    def add(self, sums: EfficiencySum) -> None:
        """Count in what one row of the store says."""
        self.whole["energy_mj"] += sums.energy_mj
        self.whole["cost"] += units_of(sums.cost)
        for name in GRID_KINDS:
            self.whole[name] += int(Fraction(getattr(sums, name)) * 10**FINEST)
            self.without[name] += getattr(sums, f"no_{name}_mj")
        for name in MEASURES:
            self.parts[sums.kind][name] += Fraction(getattr(sums, f"part_{name}")) * _scale(name)
        self.takings[sums.scope].add(
            Taking(
                Fraction(sums.energy_mj),
                Fraction(sums.cost),
                Fraction(sums.estimated_mj),
                Fraction(sums.electricity),
                {sums.kind: Fraction(sums.part_energy_mj)},
                {sums.kind: Fraction(sums.part_cost)},
            )
        )


def _scale(name: str) -> Fraction:
    """From what the store says of a part to the unit of `Taken`."""
    if name in GRID_KINDS:
        return Fraction(10**FINEST, _PER_MICRO)
    return Fraction(10**12 if name == "cost" else 1)


def group_of(used: EfficiencySum | KindSum, by: Sequence[str]) -> Key:
    """What sums say for each of `by`."""
    named = used.named or ()
    return tuple(str(used.day if n == "day" else named[NAMED.index(n)]) for n in by)


def efficiency(
    sums: Iterable[EfficiencySum],
    tokens: Iterable[KindSum],
    by: Sequence[str],
    weights: Mapping[str, KindUncertainty] = NOTHING_KNOWN,
    implausible: Collection[str] = (),
) -> Efficiency:
    """Rows in the order of their names; amounts must share one currency. `weights` says how far
    those of a scope may be off, by kind of token; what `implausible` scopes took cannot be."""
    groups: dict[Key, _Sums] = defaultdict(_Sums)
    nobody: dict[Key, _Sums] = defaultdict(_Sums)
    for each in sums:
        is_used = each.line == "usage"
        (groups[group_of(each, by)] if is_used else nobody[each.line, each.scope]).add(each)
    counted: dict[Key, dict[str, int]] = defaultdict(lambda: dict.fromkeys(TOKEN_KINDS, 0))
    for counts in tokens:
        for kind in TOKEN_KINDS:
            counted[group_of(counts, by)][kind] += getattr(counts, kind)
    names = sorted(groups.keys() | counted.keys())
    lines = sorted(nobody)
    known = [*(groups[name] for name in names), *(nobody[line] for line in lines)]
    taken, whole = _rounded(known)
    all_tokens = {kind: sum(each[kind] for each in counted.values()) for kind in TOKEN_KINDS}
    off = uncertainties([groups[name].takings for name in names], weights)
    whole_off = uncertainty_of_all(each for group in known for each in group.takings.values())
    return Efficiency(
        tuple(
            replace(
                EfficiencyRow(name, dict(counted[name]), each, _by_kind(each, groups[name])),
                **_quality([groups[name]], uncertainty, implausible),
            )
            for name, each, uncertainty in zip(names, taken, off, strict=False)
        ),
        tuple(
            replace(
                EfficiencyRow(line, dict.fromkeys(TOKEN_KINDS, 0), each),
                **_quality([nobody[line]], UNKNOWN, implausible),
            )
            for line, each in zip(lines, taken[len(names) :], strict=True)
        ),
        replace(
            EfficiencyRow(("total",), all_tokens, whole), **_quality(known, whole_off, implausible)
        ),
    )


class _Quality(TypedDict):
    """How good the figures of a row are."""

    uncertainty: Uncertainty
    is_implausible: bool
    estimated_mj: int


def _quality(
    of: Sequence[_Sums], uncertainty: Uncertainty, implausible: Collection[str]
) -> _Quality:
    takings = [(scope, taking) for each in of for scope, taking in each.takings.items()]
    is_implausible = any(scope in implausible and taking.energy for scope, taking in takings)
    return {
        "uncertainty": UNKNOWN if is_implausible else uncertainty,
        "is_implausible": is_implausible,
        "estimated_mj": int(sum(taking.estimated for _, taking in takings)),
    }


def _rounded(known: Sequence[_Sums]) -> tuple[list[Taken], Taken]:
    """Each and all, in whole units that add up; unknown where energy has no factor."""
    columns: dict[str, list[int | None]] = {}
    totals: dict[str, int | None] = {}
    for name in MEASURES:
        whole = [each.whole[name] for each in known]
        if name not in GRID_KINDS:
            columns[name], totals[name] = [*whole], sum(whole)
            continue
        rounded = divide_half_even(sum(whole), _PER_MICRO)
        parts = apportion(rounded, whole) if any(whole) else whole
        holes = [bool(each.without[name]) for each in known]
        columns[name] = [None if hole else part for hole, part in zip(holes, parts, strict=True)]
        totals[name] = None if any(holes) else rounded
    taken = [_taken({name: columns[name][n] for name in MEASURES}) for n in range(len(known))]
    return taken, _taken(totals)


def _taken(values: Mapping[str, int | None]) -> Taken:
    energy_mj, cost = values["energy_mj"], values["cost"]
    assert energy_mj is not None
    assert cost is not None
    return Taken(energy_mj, cost, *(values[name] for name in GRID_KINDS))


def _by_kind(taken: Taken, sums: _Sums) -> Mapping[str, Taken] | None:
    """What each kind took; None where the parts are not the whole."""
    columns: dict[str, list[int | None]] = {}
    for name in MEASURES:
        whole: int | None = getattr(taken, name)
        parts = [sums.parts[kind][name] for kind in TOKEN_KINDS]
        fitted = None if whole is None else fit(whole, parts)
        if fitted is None and whole is not None:
            return None
        columns[name] = [None] * len(parts) if fitted is None else [*fitted]
    return {
        kind: _taken({name: columns[name][n] for name in MEASURES})
        for n, kind in enumerate(TOKEN_KINDS)
    }


def fit(whole: int, parts: Sequence[Fraction]) -> list[int] | None:
    """Whole numbers next to `parts` that add up to `whole`; None where the parts do not, nearly.

    >>> fit(10, [Fraction(10, 3)] * 3)
    [4, 3, 3]
    """
    floors = [floor(part) for part in parts]
    left = whole - sum(floors)
    if abs(left) > len(parts):
        return None
    first = sorted(range(len(parts)), key=lambda n: (floors[n] - parts[n], n))
    if left < 0:
        first.reverse()
    for n in first[: abs(left)]:
        floors[n] += 1 if left > 0 else -1
    return floors
