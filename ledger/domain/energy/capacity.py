"""Whether deployments ever use more of an asset's GPUs, or of one GPU, than there is.

Invariant: at every moment the deployed parts are at most those there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class GpuShare:
    """So many parts of GPUs in [valid_from, valid_to); `valid_to` None has no end."""

    parts: int
    valid_from: datetime
    valid_to: datetime | None


@dataclass(frozen=True, slots=True)
class Shortage:
    """The first moment at which more is deployed than there is, in parts of GPUs."""

    moment: datetime
    deployed: int
    available: int


def find_shortage(owned: Sequence[GpuShare], deployed: Sequence[GpuShare]) -> Shortage | None:
    """The first moment when `deployed` exceeds `owned`, or None."""
    # Use can rise above what there is only where a deployment starts or hardware ends.
    moments = {share.valid_from for share in deployed}
    moments |= {share.valid_to for share in owned if share.valid_to is not None}
    for moment in sorted(moments):
        used, there = _at(deployed, moment), _at(owned, moment)
        if used > there:
            return Shortage(moment, used, there)
    return None


def _at(shares: Sequence[GpuShare], moment: datetime) -> int:
    return sum(
        share.parts
        for share in shares
        if share.valid_from <= moment and (share.valid_to is None or moment < share.valid_to)
    )
