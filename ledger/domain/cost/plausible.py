"""What tokens of a model can take, by its size: beyond that a meter, a unit or a count is wrong.

Measured by ML.ENERGY (leaderboard 0cd52da, 2026-02-16, vLLM on H100 and B200): the least that a
token of an answer ever took, and by the law J = token + step ÷ batch what it takes at most. Work is
implausible below half of the least, and above three times what it would take in batches as large as
its engines say, or of one.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

MORE, LESS = "more_than_known", "less_than_known"
# Of fewer tokens an hour says little: what came before and after it is smeared into it.
OUTPUT_LEAST = 1_000
_MICROJOULES = 1_000
_BELOW, _ABOVE = 2, 3
# Engines that counted three quarters of what was written say how large batches were.
_COUNTED, _COUNTED_OF = 3, 4
# A token read from a cache takes at most a tenth of one that is worked on.
_CACHED = 10
_BILLIONS = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)b(?![a-z0-9])")


class KnownWork(NamedTuple):
    """Models of up to so many billions of parameters on so many GPUs: the least of a token of an
    answer, what each takes by itself and what a step takes, in microjoules."""

    billions: Decimal
    least_uj: int
    token_uj: int
    step_uj: int
    gpus: int


# The least is of models of that size or larger, since those that use a part of their parameters
# take less than their size says; token and step are of those that use all.
KNOWN = (
    KnownWork(Decimal(9), 44_000, 66_500, 3_160_000, 1),
    KnownWork(Decimal(16), 44_000, 91_000, 4_900_000, 1),
    KnownWork(Decimal(40), 44_000, 188_900, 11_470_000, 2),
    KnownWork(Decimal(80), 86_000, 359_600, 27_430_000, 4),
    KnownWork(Decimal(250), 86_000, 595_000, 92_800_000, 8),
    KnownWork(Decimal(700), 606_000, 1_680_000, 96_060_000, 8),
)
# A model whose name says no size may be any of them.
ANY = KnownWork(Decimal(0), KNOWN[0].least_uj, *KNOWN[-1][2:])


@dataclass(frozen=True, slots=True)
class WorkHour:
    """What requests of a deployment took of its boards in an hour, in mJ, and their tokens; steps
    of its engines, and the tokens of answers that these counted in them."""

    deployment_id: str
    model: str
    gpu_count: int
    hour_start: datetime
    device_mj: int
    uncached: int
    cache_read: int
    cache_write: int
    output: int
    steps: int = 0
    stepped_output: int = 0

    @property
    def steps_most(self) -> int:
        """Steps that its answers can have taken: one a token, or by the batches of its engines
        where these counted nearly all of it."""
        counted = self.stepped_output * _COUNTED_OF
        if not counted or counted < self.output * _COUNTED:
            return self.output
        return min(-(-self.output * self.steps // self.stepped_output), self.output)


@dataclass(frozen=True, slots=True)
class ImplausibleWork:
    """Hours in which a deployment took what no token of its model's size is known to take: all of
    their energy and output tokens, and between what it would have to lie, in mJ."""

    deployment_id: str
    model: str
    reason: str
    hours: int
    first_hour: datetime
    last_hour: datetime
    device_mj: int
    output: int
    low_mj: int
    high_mj: int


def known_of(model: str) -> KnownWork:
    """What is known of models of the size that a name says, such as llama-3.1-70b."""
    sizes = [Decimal(size) for size in _BILLIONS.findall(model.lower())]
    fitting = (known for known in KNOWN if sizes and max(sizes) <= known.billions)
    return next(fitting, ANY)


def bounds_mj(work: WorkHour) -> tuple[int, int]:
    """Between what the energy of an hour must lie to be plausible."""
    known = known_of(work.model)
    prompts = (work.uncached + work.cache_write) * known.token_uj
    cached = work.cache_read * known.token_uj // _CACHED
    answers = work.output * known.token_uj + work.steps_most * known.step_uj
    spread = max(work.gpu_count, known.gpus)
    low = work.output * known.least_uj // (_BELOW * _MICROJOULES)
    return low, _ABOVE * (answers + prompts + cached) * spread // (known.gpus * _MICROJOULES)


def find_implausible(hours: Iterable[WorkHour]) -> list[ImplausibleWork]:
    """Hours outside of what is known, put together by deployment, model and what is wrong."""
    outside: dict[tuple[str, str, str], list[WorkHour]] = defaultdict(list)
    for work in hours:
        low, high = bounds_mj(work)
        # Where no board was read its energy is unknown, as under a lease that pays for power.
        is_known = work.device_mj > 0 and work.output >= OUTPUT_LEAST
        if is_known and not low <= work.device_mj <= high:
            reason = MORE if work.device_mj > high else LESS
            outside[work.deployment_id, work.model, reason].append(work)
    return [_together(key, each) for key, each in sorted(outside.items())]


def _together(key: tuple[str, str, str], hours: Sequence[WorkHour]) -> ImplausibleWork:
    ends = [bounds_mj(work) for work in hours]
    return ImplausibleWork(
        *key,
        len(hours),
        min(work.hour_start for work in hours),
        max(work.hour_start for work in hours),
        sum(work.device_mj for work in hours),
        sum(work.output for work in hours),
        sum(low for low, _ in ends),
        sum(high for _, high in ends),
    )
