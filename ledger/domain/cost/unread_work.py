"""What engines ran while no meter was read, slot by slot, and what fitted weights say of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

import polars as pl

from ledger.domain.cost.calibration import TERMS, Slot
from ledger.domain.cost.cells import cells_of
from ledger.domain.cost.deployment import Deployment
from ledger.domain.cost.drift import FittedSet
from ledger.domain.cost.grown import Grown
from ledger.domain.cost.slots import steps_between
from ledger.domain.metering.engine_counter import CounterDelta

# Growth of each engine's own count of its steps.
StepsCounted: TypeAlias = Mapping[str, Sequence[CounterDelta]]
# Steps that no engine counts are taken to be as many as those who wrote have tokens in turn: on
# simulated loads at most so much beside the true ones.
STEPS_OPEN_PERCENT = 4
_STEP = TERMS.index("step")
_NOTHING_RAN = (0, 0, 0, 0, 0)
# What is said to have been taken in nanojoules, and between what that lies.
Said: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class UnreadEngine:
    """An engine on GPUs of its deployment, what it served, the steps that engines counted, and the
    weights that its work is told by."""

    engine: Deployment
    served: pl.DataFrame | None
    counted: StepsCounted
    fitted: FittedSet

    def says(self, marks: Sequence[int]) -> list[Said]:
        """Of each slot, with its GPUs at rest."""
        return [_says(self.fitted, slot) for slot in self._slots(marks)]

    def says_of_work(self, marks: Sequence[int]) -> list[Said]:
        """Of each slot, what it ran alone."""
        return [_says(self.fitted, replace(s, gpu_rest_us=0)) for s in self._slots(marks)]

    def _slots(self, marks: Sequence[int]) -> Iterator[Slot]:
        """What ran in each slot, with the steps that were counted and those of who wrote."""
        engine, served = self.engine, self.served
        seen = set() if served is None else {*served["instance"].unique()}
        instances = sorted({*engine.engine_instances, *seen})
        work, shared = _work(served, instances, marks, engine.prefill_chunk)
        engines, counted = max(len(instances), 1), self._steps(marks)
        for at in range(len(marks) - 1):
            uncached, cache_read, output, context, covered_us = work.get(at, _NOTHING_RAN)
            rest_us = (marks[at + 1] - marks[at]) * engines - covered_us
            rest_us = rest_us * engine.gpu_count // engines
            tokens = uncached, cache_read, output, context
            yield Slot(0, rest_us, not covered_us, *tokens, counted[at], sum(shared[at]))

    def _steps(self, marks: Sequence[int]) -> Sequence[int | None]:
        """How often it stepped in each slot; None where any of its instances did not say."""
        named = self.engine.engine_instances
        if not named or not all(name in self.counted for name in named):
            return [None] * (len(marks) - 1)
        grown = Grown.of([each for name in named for each in self.counted[name]], marks)
        return [grown.total(at) if known else None for at, known in enumerate(grown.known)]


def rest_together(engines: Iterable[UnreadEngine], marks: Sequence[int]) -> list[int]:
    """For how long none of some engines ran anything, in each slot."""
    rest = [end - start for start, end in pairwise(marks)]
    served = [each.served for each in engines if each.served is not None]
    if served:
        ran = pl.concat(served, how="diagonal").with_columns(engine=pl.lit(0, pl.Int64))
        for cell, covered_us in cells_of(ran, marks).select("cell", "covered_us").iter_rows():
            rest[cell] -= covered_us
    return rest


def _says(fitted: FittedSet, slot: Slot) -> Said:
    """What a slot took by the set, and between what that lies: its terms, and how often engines
    stepped where nobody counted it."""
    is_counted = slot.steps is not None
    columns = (slot if is_counted else replace(slot, steps=slot.shared_steps)).columns()
    value, low, high = fitted.says(columns)
    left_open = 0 if is_counted else STEPS_OPEN_PERCENT
    steps = columns[_STEP] * fitted.value["step"] * left_open // 100
    return value, low - steps, high + steps


def _work(
    served: pl.DataFrame | None,
    instances: Sequence[str],
    marks: Sequence[int],
    chunk: int | None,
) -> tuple[Mapping[int, Sequence[int]], Sequence[tuple[int, int]]]:
    if served is None:
        return {}, [(0, 0)] * (len(marks) - 1)
    numbers = {name: number for number, name in enumerate(instances)}
    engine = pl.col("instance").replace_strict(numbers, return_dtype=pl.Int64)
    ran = served.with_columns(engine=engine)
    cells = cells_of(ran, marks).select(
        "cell", "uncached", "cache_read", "output", "context", "covered_us"
    )
    work = {cell: parts for cell, *parts in cells.iter_rows()}
    return work, steps_between(ran, marks[0], marks, chunk)
