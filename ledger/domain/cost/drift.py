"""Holds what a deployment took against what its weights in force say it takes.

Invariant: weights have drifted where energy lies outside of what their own evidence leaves open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ledger.domain.cost.calibration import TERMS, Slot
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


def _or(bound: int | None, value: int) -> int:
    return value if bound is None else bound


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
    said = [
        sum(columns[at] * terms[name] for at, name in enumerate(TERMS)) // _OF_MILLIJOULES
        for terms in (fitted.value, fitted.low, fitted.high)
    ]
    return WeightCheck(len(slots), sum(slot.energy_mj for slot in slots), *said)
