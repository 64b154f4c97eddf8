"""Fits what kinds of work take to meters by the time an engine worked on prompts and on answers.

Invariant: an engine that counts no time of phases, or counts batches of both as neither, is
refused, and so is what the meters do not tell apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ledger.domain.cost.calibration import (
    NOTHING_RAN,
    SLOTS_MIN,
    TERMS,
    Claimed,
    WeightFit,
    WeightRefusal,
    nothing_fitted,
    off,
    percent,
    relative,
    too_few,
    unclaimed,
    wide,
)
from ledger.domain.cost.jackknife import Interval, Jackknife

PREFILL, DECODE = "prefill", "decode"
# What servers call batches of prompts and of answers; those of both at once have another name.
PHASES: Mapping[str, str] = {
    **dict.fromkeys((PREFILL, "extend", "split_prefill"), PREFILL),
    **dict.fromkeys((DECODE, "target_verify", "draft_extend", "draft_extend_v2"), DECODE),
}
# Power of a GPU at rest and in each phase in mW, and microjoules of tokens beside that.
RATES = ("idle", PREFILL, DECODE)
COLUMNS = ("idle", PREFILL, "cache_read", "output", "context", DECODE)
RATE_INTERVAL_MAX = Fraction(10, 100)
# Of all energy: what a term may put on others.
MISPLACED_MAX = Fraction(2, 100)
OTHER_MAX = Fraction(2, 100)
_OF_MICROJOULES = 1_000


@dataclass(frozen=True, slots=True)
class PhaseSlot:
    """A stretch of a deployment's time: what its meters showed, for how long its GPUs worked on
    prompts, on answers and on neither alone, the time of them all, and what ran; `steps` are those
    of who wrote, and `reads` those of who read a prompt."""

    energy_mj: int
    prefill_us: int
    decode_us: int
    other_us: int
    full_us: int
    uncached: int
    cache_read: int
    output: int
    context: int
    steps: int
    reads: int

    @property
    def rest_us(self) -> int:
        """The time of its GPUs in which none of them worked."""
        return max(self.full_us - self.prefill_us - self.decode_us - self.other_us, 0)

    def row(self) -> tuple[tuple[int, ...], int]:
        """Nanojoules of each column at one of its unit, relative to the energy; what is neither
        phase alone goes with answers."""
        columns = (
            self.rest_us,
            self.prefill_us,
            self.cache_read * _OF_MICROJOULES,
            self.output * _OF_MICROJOULES,
            self.context,
            self.decode_us + self.other_us,
        )
        return relative(columns, self.energy_mj)


def weigh_phases(slots: Sequence[PhaseSlot] | None, claimed: Mapping[str, Claimed]) -> WeightFit:
    """Weights by the phases of these slots, in order of time; None: nobody says for how long an
    engine worked on either."""
    if slots is None:
        seen = "no engine counts the seconds it worked on prompts and on answers"
        return nothing_fitted(0, 0, [WeightRefusal("no_phase_times", seen)], "phase_time")
    idle_slots = sum(1 for slot in slots if slot.rest_us == slot.full_us)
    early = [*too_few(len(slots)), *unclaimed(claimed), *_not_phases(slots)]
    if len(slots) < SLOTS_MIN:
        return nothing_fitted(len(slots), idle_slots, early, "phase_time")
    fitted = Jackknife.of([slot.row() for slot in slots], COLUMNS)
    every = {name: fitted.interval(at) for at, name in enumerate(fitted.names)}
    rates = {name: each for name, each in every.items() if name in RATES}
    return WeightFit(
        len(slots),
        idle_slots,
        _terms(slots, every),
        fitted.error,
        fitted.holdout_error,
        fitted.condition(RATES),
        [*early, *off(fitted, RATES), *wide(rates, RATE_INTERVAL_MAX), *_misplaced(every)],
        "phase_time",
        rates,
    )


def _not_phases(slots: Sequence[PhaseSlot]) -> Iterator[WeightRefusal]:
    full, other = (_sum(slots, name) for name in ("full_us", "other_us"))
    times = {PREFILL: _sum(slots, "prefill_us"), DECODE: _sum(slots, "decode_us")}
    worked = sum(times.values()) + other
    if other > OTHER_MAX * worked:
        seen = f"{percent(Fraction(other, worked))} of it in batches that are neither"
        yield WeightRefusal("mixed_phases", f"{seen}, {percent(OTHER_MAX)} the most")
    if not worked:
        yield NOTHING_RAN
    if worked > full * (1 + OTHER_MAX):
        seen = f"{percent(Fraction(worked, full))} of the time that there was"
        yield WeightRefusal("more_than_time", seen)
    for phase, kind in ((PREFILL, "uncached"), (DECODE, "output")):
        tokens = _sum(slots, kind)
        if tokens and not times[phase]:
            yield WeightRefusal("no_phase_times", f"{tokens} {kind} tokens, no second of {phase}")


def _misplaced(every: Mapping[str, Interval]) -> Iterator[WeightRefusal]:
    for name, each in every.items():
        if each.misplaced > MISPLACED_MAX:
            seen = f"{name} may put {percent(each.misplaced)} of the energy elsewhere"
            yield WeightRefusal("wide_interval", seen)


def _sum(slots: Sequence[PhaseSlot], name: str) -> int:
    return sum(getattr(slot, name) for slot in slots)


def _terms(slots: Sequence[PhaseSlot], every: Mapping[str, Interval]) -> dict[str, Interval]:
    """Terms of weights: a rate times the time of a phase, by the tokens or steps that it took. A
    prompt has a step of its own, which its tokens do not take again."""
    terms = {name: each for name, each in every.items() if name in TERMS}
    asked, steps = _sum(slots, "uncached"), _sum(slots, "steps")
    if DECODE in every and steps > 0:
        time_us = _sum(slots, "decode_us") + _sum(slots, "other_us")
        terms["step"] = _times(every[DECODE], Fraction(time_us, steps * _OF_MICROJOULES))
    if PREFILL in every and asked > 0:
        time = Fraction(_sum(slots, "prefill_us"), asked * _OF_MICROJOULES)
        own = terms["step"].value * _sum(slots, "reads") if "step" in terms else 0
        terms["uncached"] = _times(every[PREFILL], time, Fraction(own, asked))
    return {name: terms[name] for name in TERMS if name in terms}


def _times(each: Interval, factor: Fraction, less: Fraction = Fraction(0)) -> Interval:
    value, low, high = (
        max(round(end * factor - less), 0) for end in (each.value, each.low, each.high)
    )
    return Interval(value, low, high, each.share, each.misplaced)
