"""The slices that GPUs can be cut into by NVIDIA's MIG, and how much of a GPU each is.

Source: NVIDIA Multi-Instance GPU User Guide, "Supported MIG Profiles",
docs.nvidia.com/datacenter/tesla/mig-user-guide/supported-mig-profiles.html, read 2026-11-30.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.domain.energy.gpu_part import GPU_PARTS
from ledger.domain.errors import InvalidInputError

# A slice with the engines for pictures and video has no more of anything that is shared here.
_MEDIA = "+me"
_SEVENTHS = (("1g", 1), ("1g", 2), ("2g", 2), ("3g", 4), ("4g", 4), ("7g", 8))
_QUARTERS = (("1g", 1), ("2g", 2), ("4g", 4))


@dataclass(frozen=True, slots=True)
class MigGpu:
    """Into how many compute and memory slices a GPU is cut, and how many memory slices each profile
    has; how many compute slices is its first digit."""

    compute: int
    memory: int
    profiles: Mapping[str, int]

    def parts_of(self, slices: Sequence[str]) -> int:
        """How much of a GPU slices are, in parts of it: by compute."""
        return sum(int(name[0]) for name in slices) * GPU_PARTS // self.compute

    def memory_of(self, slices: Sequence[str]) -> int:
        """How many memory slices they have; one of another type of GPU none that is known."""
        return sum(self.profiles.get(name.removesuffix(_MEDIA), 0) for name in slices)


def _cut(slices: Sequence[tuple[str, int]], *gigabytes: int) -> MigGpu:
    named = zip(slices, gigabytes, strict=True)
    profiles = {f"{first}.{size}gb": memory for (first, memory), size in named}
    return MigGpu(int(slices[-1][0][0]), slices[-1][1], profiles)


_A100_80 = _cut(_SEVENTHS, 10, 20, 20, 40, 40, 80)
_H100_96 = _cut(_SEVENTHS, 12, 24, 24, 48, 48, 96)
_H100_94 = _cut(_SEVENTHS, 12, 24, 24, 47, 47, 94)
# The words by which a type of GPU is known; of several the first that it has all of.
_KNOWN: Sequence[tuple[frozenset[str], MigGpu]] = (
    (frozenset({"A30"}), _cut(_QUARTERS, 6, 12, 24)),
    (frozenset({"A100", "40GB"}), _cut(_SEVENTHS, 5, 10, 10, 20, 20, 40)),
    (frozenset({"A100", "80GB"}), _A100_80),
    (frozenset({"H100", "94GB"}), _H100_94),
    (frozenset({"H100", "NVL"}), _H100_94),
    (frozenset({"H100", "96GB"}), _H100_96),
    (frozenset({"H100"}), _A100_80),
    (frozenset({"H20"}), _H100_96),
    (frozenset({"GH200", "480GB"}), _H100_96),
    (frozenset({"H200"}), _cut(_SEVENTHS, 18, 35, 35, 71, 71, 141)),
    (frozenset({"B200"}), _cut(_SEVENTHS, 23, 45, 45, 90, 90, 180)),
    (frozenset({"RTX", "PRO", "6000"}), _cut(_QUARTERS, 24, 48, 96)),
)


def mig_of(gpu_type: str | None) -> MigGpu:
    """How GPUs of a type are cut; InvalidInputError where they cannot be, or nobody says how."""
    words = {*re.findall(r"[A-Z0-9]+", (gpu_type or "").upper())}
    for known, gpu in _KNOWN:
        if known <= words:
            return gpu
    raise InvalidInputError(
        f"GPUs of type {gpu_type!r} are not known to have MIG."
        if gpu_type
        else "Whether its GPUs have MIG is not known: their asset says no gpu_type.",
        "Send gpu_share, or enter the asset's gpu_type as its driver says it, such as"
        " 'NVIDIA A100-SXM4-80GB'.",
        "mig_slices",
    )


def check_slices(gpu_type: str | None, slices: Sequence[str]) -> MigGpu:
    """How a GPU of a type is cut; InvalidInputError names a slice that it does not have, and slices
    that are more than all of it."""
    gpu = mig_of(gpu_type)
    unknown = [name for name in slices if name.removesuffix(_MEDIA) not in gpu.profiles]
    if unknown:
        raise InvalidInputError(
            f"A GPU of type {gpu_type!r} has no slice {unknown[0]}.",
            f"Send some of {', '.join(gpu.profiles)}.",
            "mig_slices",
        )
    if gpu.parts_of(slices) > GPU_PARTS or gpu.memory_of(slices) > gpu.memory:
        raise InvalidInputError(
            f"{', '.join(slices)} are more than a GPU of type {gpu_type!r}, which has"
            f" {gpu.compute} slices of compute and {gpu.memory} of memory.",
            "Send fewer slices, or smaller ones.",
            "mig_slices",
        )
    return gpu
