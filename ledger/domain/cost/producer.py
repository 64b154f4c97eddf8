"""Who makes tokens of what: deployments, models and hardware, with all that their GPUs took.

Invariant: revenue of a model is shared over the deployments that worked for it, to the last unit.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from ledger.domain.apportion import amount_of, apportion, units_of
from ledger.domain.money import ROUNDING, ZERO, total
from ledger.domain.period import WINDOW_SECONDS

PRODUCERS = ("deployment", "model", "hardware", "gpu_type")


class ProducerSum(NamedTuple):
    """What a deployment took on some hardware: `part_windows` quarter hours times parts of GPUs, of
    which engines ran anything for `busy_part_s`, and tokens that were worked on."""

    deployment_id: str
    model: str
    hardware: str
    gpu_type: str
    currency: str
    part_windows: int
    busy_part_s: int
    energy_mj: int
    cost: Decimal
    uncached: int
    cache_read: int
    cache_write: int
    output: int

    @property
    def deployment(self) -> str:
        """Its name, as one of PRODUCERS has it."""
        return self.deployment_id


class AllocatedCost(NamedTuple):
    """What work for a model was allocated of a deployment's cost."""

    deployment_id: str
    model: str
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Producer:
    """A deployment, model, hardware or type of GPU: GPU time, energy, cost, tokens and revenue."""

    name: str
    part_windows: int
    busy_part_s: int
    energy_mj: int
    cost: Decimal
    input: int
    output: int
    revenue: Decimal

    @property
    def utilisation(self) -> Decimal:
        """The part of its GPU time in which engines ran anything."""
        whole = self.part_windows * WINDOW_SECONDS
        return ROUNDING.divide(Decimal(self.busy_part_s), Decimal(whole)) if whole else ZERO

    def rank(self, order: str) -> tuple[bool, Decimal]:
        """By what an output token took of cost or energy, least first; none made comes last."""
        took = self.cost if order == "cost" else Decimal(self.energy_mj)
        return not self.output, ROUNDING.divide(took, Decimal(self.output or 1))


def producers(
    sums: Iterable[ProducerSum], by: str, revenue: Mapping[str, Decimal]
) -> list[Producer]:
    """Sums by one of PRODUCERS, in the order of their names, with the revenue of deployments."""
    groups: dict[str, list[ProducerSum]] = defaultdict(list)
    ordered = sorted(sums)
    for each in ordered:
        groups[getattr(each, by)].append(each)
    paid = _over_parts(ordered, revenue)
    return [
        Producer(
            name,
            sum(each.part_windows for each in some),
            sum(each.busy_part_s for each in some),
            sum(each.energy_mj for each in some),
            total([each.cost for each in some]),
            sum(each.uncached + each.cache_read + each.cache_write for each in some),
            sum(each.output for each in some),
            total([paid[each] for each in some]),
        )
        for name, some in sorted(groups.items())
    ]


def share_revenue(
    charged: Mapping[str, Decimal], costs: Iterable[AllocatedCost]
) -> tuple[dict[str, Decimal], Decimal]:
    """What each deployment earned, by what work for a model was allocated of its cost; and what is
    of models that none worked for."""
    by_model: dict[str, list[AllocatedCost]] = defaultdict(list)
    for each in costs:
        by_model[each.model].append(each)
    earned: dict[str, Decimal] = defaultdict(lambda: ZERO)
    left = ZERO
    for model, amount in sorted(charged.items()):
        some = sorted(by_model[model])
        weights = [units_of(each.cost) for each in some]
        if sum(weights) <= 0 or min(weights) < 0:
            left = total([left, amount])
            continue
        for each, part in zip(some, apportion(units_of(amount), weights), strict=True):
            earned[each.deployment_id] = total([earned[each.deployment_id], amount_of(part)])
    return dict(earned), left


def _over_parts(
    sums: Sequence[ProducerSum], revenue: Mapping[str, Decimal]
) -> dict[ProducerSum, Decimal]:
    """The revenue of a deployment over what it was in the time, by GPU time."""
    paid = dict.fromkeys(sums, ZERO)
    for name, amount in revenue.items():
        own = [each for each in sums if each.deployment_id == name]
        if own:
            parts = apportion(units_of(amount), [each.part_windows for each in own])
            paid |= {each: amount_of(part) for each, part in zip(own, parts, strict=True)}
    return paid
