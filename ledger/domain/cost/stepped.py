"""How many steps engines took for the tokens that they wrote, as their own counters say it.

Invariant: of engines of which one does not say so in a window, nothing is known there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ledger.domain.cost.unclaimed import is_certain
from ledger.domain.metering.engine_counter import CounterDelta
from ledger.domain.metering.reconcile import OUTPUT, STEPS, is_worked_on


class Stepped(NamedTuple):
    """Steps, and the tokens of answers that were counted beside them."""

    steps: int
    output: int

    def also(self, other: "Stepped") -> "Stepped":
        """With another's."""
        return Stepped(self.steps + other.steps, self.output + other.output)


# Nobody said anything of either.
UNCOUNTED = Stepped(0, 0)


def stepped_between(deltas: Iterable[CounterDelta]) -> Stepped | None:
    """Of one engine; None where its growth is not certain, or it counts no steps."""
    own = [each for each in deltas if each.metric in (STEPS, OUTPUT) and is_worked_on(each)]
    if not all(is_certain(each) for each in own) or all(each.metric != STEPS for each in own):
        return None
    sums = (sum(int(each.delta) for each in own if each.metric == of) for of in (STEPS, OUTPUT))
    return Stepped(*sums)


def stepped_together(instances: Sequence[str], counted: Mapping[str, Stepped]) -> Stepped:
    """Of engines, by what each counted; nothing where any of them did not, or there is none."""
    if not all(name in counted for name in instances):
        return UNCOUNTED
    return Stepped(
        sum(counted[name].steps for name in instances),
        sum(counted[name].output for name in instances),
    )
