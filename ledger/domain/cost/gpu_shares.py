"""Which part of each GPU deployments have at a moment, where several share it.

Invariant: parts of a GPU are in the order of deployments' names, and behind them is what is left of
it: together they are all of it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ledger.domain.cost.deployment import Deployment
from ledger.domain.energy.gpu_part import GPU_PARTS, WHOLE_GPU, GpuPart


@dataclass(frozen=True, slots=True)
class GpuShares:
    """Parts of GPUs that are split by share, by deployment and GPU, and what nobody has of them."""

    taken: Mapping[tuple[str, str], GpuPart]
    left: Mapping[str, GpuPart]

    def of(self, deployment: Deployment) -> dict[str, GpuPart]:
        """Which part it has of each of its GPUs that are named."""
        name = deployment.deployment_id
        return {gpu: self.taken.get((name, gpu), WHOLE_GPU) for gpu in deployment.gpu_uuids}


def find_gpu_shares(deployed: Iterable[Deployment]) -> GpuShares:
    """The parts of GPUs that deployments of one moment have."""
    users: dict[str, list[Deployment]] = defaultdict(list)
    for deployment in sorted(deployed, key=lambda d: d.deployment_id):
        if deployment.shares_gpus and not deployment.splits_by_use:
            for gpu in deployment.gpu_uuids:
                users[gpu].append(deployment)
    taken: dict[tuple[str, str], GpuPart] = {}
    left: dict[str, GpuPart] = {}
    for gpu, sharers in users.items():
        before: tuple[int, ...] = ()
        for deployment in sharers:
            taken[deployment.deployment_id, gpu] = GpuPart(deployment.gpu_parts, before)
            before += (deployment.gpu_parts,)
        rest = GPU_PARTS - sum(before)
        if rest > 0:
            left[gpu] = GpuPart(rest, before)
    return GpuShares(taken, left)
