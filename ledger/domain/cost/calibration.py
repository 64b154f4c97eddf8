"""Fits what each kind of work takes to what an engine's meters showed, or says why it cannot.

Invariant: nothing is proposed unless every refusal was looked for; a fit that misses little proves
nothing of its weights, so that intervals and what was left out decide.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType

from ledger.domain.cost.jackknife import WHOLE, Interval, Jackknife

# What is fitted, in the order of columns: power of a GPU at rest in mW, and microjoules of a token
# of each kind, of an output token for each 1,000 that it looks back on, and of a step.
TERMS = ("idle", "uncached", "cache_read", "output", "context", "step")
_OF_MICROJOULES = 1_000
_OF_MILLIJOULES = 1_000_000
SLOTS_MIN = 100
IDLE_SLOTS_MIN = 10
CONDITION_MAX = 40
ERROR_MAX = Fraction(5, 100)
INTERVAL_MAX = Fraction(5, 100)
UNCLAIMED_MAX = Fraction(2, 100)


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of a deployment's time: what its meters showed, how long its GPUs were at rest, and
    what ran. `steps` None: nobody counted them; `shared_steps` are as many as those who read and
    wrote together come to, at a token each."""

    energy_mj: int
    gpu_rest_us: int
    is_idle: bool
    uncached: int
    cache_read: int
    output: int
    context: int
    steps: int | None
    shared_steps: int = 0

    def columns(self) -> tuple[int, ...]:
        """Nanojoules of each term at one of its unit."""
        tokens = (self.uncached, self.cache_read, self.output)
        return (
            self.gpu_rest_us,
            *(count * _OF_MICROJOULES for count in tokens),
            self.context,
            (self.steps or 0) * _OF_MICROJOULES,
        )

    def row(self) -> tuple[tuple[int, ...], int]:
        """The columns relative to the energy, and that."""
        return relative(self.columns(), self.energy_mj)


def relative(columns: Sequence[int], energy_mj: int) -> tuple[tuple[int, ...], int]:
    """Nanojoules in parts of WHOLE of the energy of a stretch, and WHOLE."""
    total = energy_mj * _OF_MILLIJOULES
    return tuple(column * WHOLE // total for column in columns), WHOLE


NOTHING_HELD: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Claimed:
    """Tokens that an engine counted, and those that events claimed; None is unknown."""

    counted: int | None
    claimed: int

    @property
    def is_off(self) -> bool:
        """Whether events tell of other work than ran."""
        if self.counted is None:
            return True
        return abs(self.counted - self.claimed) > UNCLAIMED_MAX * max(self.counted, self.claimed)


@dataclass(frozen=True, slots=True)
class WeightRefusal:
    """Why nothing is proposed: a name, and what was seen."""

    reason: str
    seen: str


NOTHING_RAN = WeightRefusal("nothing_ran", "no slot with work")
SHARED_GPUS = WeightRefusal("shared_gpus", "a part of GPUs whose meters tell of others too")


@dataclass(frozen=True, slots=True)
class WeightFit:
    """What slots say of a deployment's weights; proposed only where nothing refuses it.

    Errors are the root of the mean square of what a slot's energy is missed by, relative to it:
    of slots that were fitted, and of such that were left out. `rates` is what a GPU draws in each
    phase in mW, where weights come from them.
    """

    slots: int
    idle_slots: int
    terms: Mapping[str, Interval]
    fit_error: Fraction
    holdout_error: Fraction
    condition: Fraction
    refusals: Sequence[WeightRefusal]
    source: str = "calibrated"
    rates: Mapping[str, Interval] = field(default_factory=dict)


def nothing_fitted(
    slots: int, idle_slots: int, refusals: Sequence[WeightRefusal], source: str
) -> WeightFit:
    """What is refused before anything is fitted."""
    none = Fraction(0)
    return WeightFit(slots, idle_slots, {}, none, none, none, refusals, source)


def calibrate(
    slots: Sequence[Slot], claimed: Mapping[str, Claimed], held: Mapping[str, int] = NOTHING_HELD
) -> WeightFit:
    """Weights of what ran in these slots, in order of time, each with some energy.

    Terms of `held` are known from elsewhere, and not fitted.
    """
    idle_slots = sum(1 for slot in slots if slot.is_idle)
    early = [*too_few(len(slots)), *_not_seen(slots, idle_slots), *unclaimed(claimed)]
    if len(slots) < SLOTS_MIN:
        return nothing_fitted(len(slots), idle_slots, early, "calibrated")
    fitted = Jackknife.of([_less(slot.row(), held) for slot in slots], TERMS)
    terms = {name: fitted.interval(at) for at, name in enumerate(fitted.names)}
    return WeightFit(
        len(slots),
        idle_slots,
        terms,
        fitted.error,
        fitted.holdout_error,
        fitted.condition(TERMS),
        [*early, *off(fitted, TERMS), *wide(terms, INTERVAL_MAX)],
    )


def _less(row: tuple[Sequence[int], int], held: Mapping[str, int]) -> tuple[Sequence[int], int]:
    """A row without the terms that are held, and without what they take of it."""
    columns, whole = row
    kept = [0 if name in held else columns[at] for at, name in enumerate(TERMS)]
    known = sum(columns[TERMS.index(name)] * value for name, value in held.items())
    return kept, whole - known


def too_few(slots: int) -> Iterator[WeightRefusal]:
    """Where nothing can be fitted at all."""
    if slots < SLOTS_MIN:
        yield WeightRefusal("too_few_slots", f"{slots} slots, {SLOTS_MIN} are the least")


def _not_seen(slots: Sequence[Slot], idle_slots: int) -> Iterator[WeightRefusal]:
    if any(slot.steps is None for slot in slots):
        yield WeightRefusal("no_step_counts", "no engine says how often it stepped")
    if idle_slots < IDLE_SLOTS_MIN:
        yield WeightRefusal("no_idle_slots", f"{idle_slots} at rest, {IDLE_SLOTS_MIN} the least")
    if idle_slots == len(slots):
        yield NOTHING_RAN


def unclaimed(claimed: Mapping[str, Claimed]) -> Iterator[WeightRefusal]:
    """Where engines counted other tokens than events claim."""
    for kind, tokens in claimed.items():
        if tokens.is_off:
            counted = "no" if tokens.counted is None else tokens.counted
            seen = f"{counted} {kind} tokens counted, {tokens.claimed} in events"
            yield WeightRefusal("unclaimed_tokens", seen)


def off(fitted: Jackknife, names: Collection[str]) -> Iterator[WeightRefusal]:
    """Where these columns cannot be told apart, or all of them miss what they come to."""
    condition = fitted.condition(names)
    if condition > CONDITION_MAX:
        seen = f"a condition of {int(condition)}, {CONDITION_MAX} is the most"
        yield WeightRefusal("constant_mix", seen)
    errors = {"fit_error": fitted.error, "holdout_error": fitted.holdout_error}
    for reason, error in errors.items():
        if error > ERROR_MAX:
            yield WeightRefusal(reason, f"{percent(error)}, {percent(ERROR_MAX)} the most")


def wide(terms: Mapping[str, Interval], most: Fraction) -> Iterator[WeightRefusal]:
    """Terms that may be further off than by this part of them."""
    for name, interval in terms.items():
        if interval.is_wider(most):
            seen = f"{name} is between {interval.low} and {interval.high}"
            yield WeightRefusal("wide_interval", seen)


def percent(part: Fraction) -> str:
    """With one decimal, cut off."""
    return f"{int(part * 1_000) // 10}.{int(part * 1_000) % 10} %"
