"""Holds what a deployment took against what its weights in force say it takes.

Invariant: weights have drifted where energy lies outside of what their own evidence leaves open.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from ledger.domain.cost.calibration import CONDITION_MAX, ERROR_MAX, TERMS, Slot
from ledger.domain.cost.weights import Weights

# Fewer say too little of an hour.
SLOTS_LEAST = 20
_OF_MILLIJOULES = 1_000_000


@dataclass(frozen=True, slots=True)
class FittedSet:
    """A weight set in force that was fitted: microjoules and mW of each term, and between what each
    lies; a term without a bound was held."""

    deployment_id: str
    weight_set_id: str
    version: int
    value: Mapping[str, int]
    low: Mapping[str, int]
    high: Mapping[str, int]

    @classmethod
    def of(
        cls,
        names: tuple[str, str],
        weights: Weights,
        idle_mw: int,
        bounds: Mapping[str, Mapping[str, int | None]],
    ) -> "FittedSet":
        """A set by the ids of its deployment and its own, with its evidence's `low` and `high`."""
        value = {name: getattr(weights, name, idle_mw) for name in TERMS}
        ends = [
            {name: _or(bounds[side].get(name), value[name]) for name in TERMS}
            for side in ("low", "high")
        ]
        return cls(*names, weights.version, value, *ends)

    def says(self, columns: Sequence[int]) -> tuple[int, int, int]:
        """What work of so many nanojoules of each term at one takes, and between what that lies."""
        of_value, of_low, of_high = (
            sum(column * terms[name] for column, name in zip(columns, TERMS, strict=True))
            for terms in (self.value, self.low, self.high)
        )
        return of_value, of_low, of_high


def _or(bound: int | None, value: int) -> int:
    return value if bound is None else bound


@dataclass(frozen=True, slots=True)
class FittedInForce:
    """A fitted set in [valid_from, valid_to); `valid_to` None is open. Whether it `estimates` what
    no meter says is how whoever entered it wants that told, and whether its evidence is enough."""

    fitted: FittedSet
    valid_from: datetime
    valid_to: datetime | None
    estimates: bool

    def holds(self, since: datetime, until: datetime) -> bool:
        """Whether it is in force all the while."""
        ends = self.valid_to is not None and self.valid_to < until
        return self.valid_from <= since and not ends


def identifies(condition: Decimal, error_percents: Iterable[Decimal]) -> bool:
    """Whether a fit as good as this says what work takes where no meter does."""
    return condition <= CONDITION_MAX and max(error_percents) <= ERROR_MAX * 100


@dataclass(frozen=True, slots=True)
class WeightCheck:
    """What slots of a time took, what weights say of them, and between what they say it lies."""

    slots: int
    measured_mj: int
    expected_mj: int
    low_mj: int
    high_mj: int


def compare_with_weights(slots: Sequence[Slot], fitted: FittedSet) -> WeightCheck | None:
    """None where too little was measured. Steps that nobody counted are those of who wrote."""
    if len(slots) < SLOTS_LEAST:
        return None
    counted = (
        slot if slot.steps is not None else replace(slot, steps=slot.shared_steps) for slot in slots
    )
    each = [slot.columns() for slot in counted]
    columns = [sum(row[at] for row in each) for at in range(len(TERMS))]
    said = (nanojoules // _OF_MILLIJOULES for nanojoules in fitted.says(columns))
    return WeightCheck(len(slots), sum(slot.energy_mj for slot in slots), *said)
