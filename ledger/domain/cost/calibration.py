"""Fits what each kind of work takes to what an engine's meters showed, or says why it cannot.

Invariant: nothing is proposed unless every refusal was looked for; a fit that misses little proves
nothing of its weights, so that intervals and what was left out decide.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from types import MappingProxyType

from ledger.domain.cost.least_squares import Products, fit, inverted, root

# What is fitted, in the order of columns: power of a GPU at rest in mW, and microjoules of a token
# of each kind, of an output token for each 1,000 that it looks back on, and of a step.
TERMS = ("idle", "uncached", "cache_read", "output", "context", "step")
_OF_MICROJOULES = 1_000
_OF_MILLIJOULES = 1_000_000
# Rows are relative to what they come to, in so many parts.
_WHOLE = 1 << 48
# Stretches of time that are left out in turn.
BLOCKS = 20
# Student's t of 19 degrees of freedom, 99 % on both sides.
_SPREAD = Fraction(2861, 1_000)
SLOTS_MIN = 100
IDLE_SLOTS_MIN = 10
CONDITION_MAX = 40
ERROR_MAX = Fraction(5, 100)
INTERVAL_MAX = Fraction(5, 100)
UNCLAIMED_MAX = Fraction(2, 100)
# Of all energy: what the law itself and the times of events may put on the wrong term.
_MISPLACED = Fraction(1, 2_000)


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of a deployment's time: what its meters showed, how long its GPUs were at rest, and
    what ran. `steps` None: nobody counted them."""

    energy_mj: int
    gpu_rest_us: int
    is_idle: bool
    uncached: int
    cache_read: int
    output: int
    context: int
    steps: int | None

    def row(self) -> tuple[tuple[int, ...], int]:
        """Nanojoules of each term at one of its unit, and what they come to."""
        tokens = (self.uncached, self.cache_read, self.output)
        columns = (
            self.gpu_rest_us,
            *(count * _OF_MICROJOULES for count in tokens),
            self.context,
            (self.steps or 0) * _OF_MICROJOULES,
        )
        total = self.energy_mj * _OF_MILLIJOULES
        return tuple(column * _WHOLE // total for column in columns), _WHOLE


NOTHING_HELD: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Interval:
    """A fitted number, between what it lies with 99 %, and its part of all energy."""

    value: int
    low: int
    high: int
    share: Fraction = Fraction(0)

    @property
    def is_wide(self) -> bool:
        """Whether it may be further off than INTERVAL_MAX."""
        return not self.value or self.high - self.low > 2 * INTERVAL_MAX * self.value


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


@dataclass(frozen=True, slots=True)
class WeightFit:
    """What slots say of a deployment's weights; proposed only where nothing refuses it.

    Errors are the root of the mean square of what a slot's energy is missed by, relative to it:
    of slots that were fitted, and of such that were left out.
    """

    slots: int
    idle_slots: int
    terms: Mapping[str, Interval]
    fit_error: Fraction
    holdout_error: Fraction
    condition: Fraction
    refusals: Sequence[WeightRefusal]


def calibrate(
    slots: Sequence[Slot], claimed: Mapping[str, Claimed], held: Mapping[str, int] = NOTHING_HELD
) -> WeightFit:
    """Weights of what ran in these slots, in order of time, each with some energy.

    Terms of `held` are known from elsewhere, and not fitted.
    """
    idle_slots = sum(1 for slot in slots if slot.is_idle)
    early = [*_too_little(slots, idle_slots), *_unclaimed(claimed)]
    if len(slots) < SLOTS_MIN:
        return WeightFit(len(slots), idle_slots, {}, Fraction(0), Fraction(0), Fraction(0), early)
    fitted = _Fit.of(slots, held)
    terms = {name: fitted.interval(at) for at, name in enumerate(fitted.names)}
    return WeightFit(
        len(slots),
        idle_slots,
        terms,
        fitted.error,
        fitted.holdout_error,
        fitted.condition,
        [*early, *_not_known(fitted, terms)],
    )


def _too_little(slots: Sequence[Slot], idle_slots: int) -> Iterator[WeightRefusal]:
    if len(slots) < SLOTS_MIN:
        yield WeightRefusal("too_few_slots", f"{len(slots)} slots, {SLOTS_MIN} are the least")
    if any(slot.steps is None for slot in slots):
        yield WeightRefusal("no_step_counts", "no engine says how often it stepped")
    if idle_slots < IDLE_SLOTS_MIN:
        yield WeightRefusal("no_idle_slots", f"{idle_slots} at rest, {IDLE_SLOTS_MIN} the least")


def _unclaimed(claimed: Mapping[str, Claimed]) -> Iterator[WeightRefusal]:
    for kind, tokens in claimed.items():
        if tokens.is_off:
            seen = f"{tokens.counted} {kind} tokens counted, {tokens.claimed} in events"
            yield WeightRefusal("unclaimed_tokens", seen)


def _not_known(fitted: "_Fit", terms: Mapping[str, Interval]) -> Iterator[WeightRefusal]:
    if fitted.condition > CONDITION_MAX:
        seen = f"a condition of {int(fitted.condition)}, {CONDITION_MAX} is the most"
        yield WeightRefusal("constant_mix", seen)
    errors = {"fit_error": fitted.error, "holdout_error": fitted.holdout_error}
    for reason, error in errors.items():
        if error > ERROR_MAX:
            yield WeightRefusal(reason, f"{_percent(error)}, {_percent(ERROR_MAX)} the most")
    for name, interval in terms.items():
        if interval.is_wide:
            seen = f"{name} is between {interval.low} and {interval.high}"
            yield WeightRefusal("wide_interval", seen)


def _percent(part: Fraction) -> str:
    return f"{int(part * 1_000) // 10}.{int(part * 1_000) % 10} %"


@dataclass(frozen=True, slots=True)
class _Fit:
    """The fit of all slots, and of all but each block."""

    names: Sequence[str]
    # Of one unit of a term, in the mean of slots.
    shares: Sequence[Fraction]
    all: Products
    blocks: Sequence[Products]
    answer: Sequence[Fraction]
    without: Sequence[Sequence[Fraction]]

    @classmethod
    def of(cls, slots: Sequence[Slot], held: Mapping[str, int]) -> "_Fit":
        """Of terms that there was any of, less what those that are held take."""
        rows = [slot.row() for slot in slots]
        seen = [
            at
            for at, name in enumerate(TERMS)
            if name not in held and any(columns[at] for columns, _ in rows)
        ]
        known = [(TERMS.index(name), value) for name, value in held.items()]
        kept = [
            (
                [columns[at] for at in seen],
                whole - sum(columns[at] * value for at, value in known),
            )
            for columns, whole in rows
        ]
        edges = [len(kept) * n // BLOCKS for n in range(BLOCKS + 1)]
        blocks = [Products.of(kept[since:until], len(seen)) for since, until in pairwise(edges)]
        whole = _sum(blocks)
        left_out = [fit(whole + block.negated()) for block in blocks]
        shares = [
            Fraction(sum(row[n] for row, _ in kept), len(kept) * _WHOLE) for n in range(len(seen))
        ]
        return cls([TERMS[at] for at in seen], shares, whole, blocks, fit(whole), left_out)

    @property
    def error(self) -> Fraction:
        """By how much all are missed by the fit of them all."""
        return Fraction(self.all.error(self.answer), _WHOLE)

    @property
    def holdout_error(self) -> Fraction:
        """By how much each block is missed by the fit of all the others."""
        pairs = zip(self.blocks, self.without, strict=True)
        squares = [block.error(answer) ** 2 * block.rows for block, answer in pairs]
        return Fraction(root(Fraction(sum(squares), self.all.rows)), _WHOLE)

    @property
    def condition(self) -> Fraction:
        """Of the columns at one length (by Frobenius); 0 where some make up others."""
        size = len(self.names)
        lengths = [root(Fraction(self.all.columns[n][n])) for n in range(size)]
        inverse = inverted(self.all.columns)
        if inverse is None:
            return Fraction(10**9)
        squares = [Fraction(0), Fraction(0)]
        for n in range(size):
            for m in range(size):
                long = lengths[n] * lengths[m]
                squares[0] += Fraction(self.all.columns[n][m], long) ** 2
                squares[1] += (inverse[n][m] * long) ** 2
        return root(root(squares[0]) * root(squares[1]))

    def interval(self, at: int) -> Interval:
        """From how far the fits without each block lie apart (the jackknife), and what the law
        itself leaves open."""
        answers = [answer[at] for answer in self.without]
        mean = Fraction(sum(answers), BLOCKS)
        apart = sum(((answer - mean) ** 2 for answer in answers), Fraction(0))
        reach = _SPREAD * root(Fraction(apart * (BLOCKS - 1), BLOCKS))
        reach += Fraction(_MISPLACED, self.shares[at])
        value = self.answer[at]
        low, high = max(value - reach, Fraction(0)), value + reach
        return Interval(round(value), round(low), round(high), value * self.shares[at])


def _sum(blocks: Iterable[Products]) -> Products:
    first, *rest = blocks
    for block in rest:
        first += block
    return first
