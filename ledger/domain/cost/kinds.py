"""What tokens of each kind took of a scope's window, how many of them were worked on there, and in
how many steps.

Invariant: energies and costs add up to what usage took, to the last unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from ledger.domain.apportion import apportion
from ledger.domain.cost.stepped import UNCOUNTED, Stepped
from ledger.domain.metering.spread import WORK

Four: TypeAlias = tuple[int, int, int, int]
NONE: Four = (0, 0, 0, 0)
# In the order of WORK: tokens, mJ and 1e-12 of the currency.
KIND_SUMS = {
    **dict.fromkeys(WORK, pl.Int64()),
    **{f"{name}_mj": pl.Int64() for name in WORK},
    **{f"{name}_cost": pl.Int128() for name in WORK},
    # And of their engines steps, and tokens of answers counted beside these.
    **dict.fromkeys(("steps", "stepped_output"), pl.Int64()),
}
_MOST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class KindSums:
    """Tokens of each kind of WORK, what they took, and the steps of engines where these say so."""

    tokens: Four = NONE
    energy_mj: Four = NONE
    cost: Four = NONE
    stepped: Stepped = UNCOUNTED

    def __add__(self, other: "KindSums") -> "KindSums":
        return KindSums(
            _sum(self.tokens, other.tokens),
            _sum(self.energy_mj, other.energy_mj),
            _sum(self.cost, other.cost),
            self.stepped.also(other.stepped),
        )

    def row(self) -> tuple[int, ...]:
        """The values of KIND_SUMS; more tokens than there is room for are as many as there is."""
        tokens, stepped = (
            (min(count, _MOST) for count in counts) for counts in (self.tokens, self.stepped)
        )
        return (*tokens, *self.energy_mj, *self.cost, *stepped)


NO_KINDS = KindSums()


def split_kinds(energy_mj: int, cost: int, weights: Sequence[int]) -> KindSums:
    """What usage took by what each kind weighs of it; answers, where nothing does."""
    known = weights if any(weights) else (0, 0, 0, 1)
    energies, costs = (apportion(whole, known) for whole in (energy_mj, cost))
    return KindSums(NONE, four(energies), four(costs))


def _sum(some: Four, others: Four) -> Four:
    return four([a + b for a, b in zip(some, others, strict=True)])


def four(values: Sequence[int]) -> Four:
    """One value of each kind."""
    uncached, cache_read, cache_write, output = values
    return uncached, cache_read, cache_write, output
