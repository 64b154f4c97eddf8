"""Decides which deployments served an attempt: by engine instance, else by model and tier.

Invariant: the answer depends on what keys and deployments say, never on their order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ledger.domain.cost.weights import Weights
from ledger.domain.energy.gpu_part import GPU_PARTS
from ledger.wire.input_fields import SLOT_SECONDS

# How GPUs that several deployments have are split: by their shares alone; or, while anything runs,
# by how long each runs, or by what its work weighs, in microjoules for all of them.
BY_SHARE, BY_BUSY_TIME, BY_WEIGHTS = "share", "busy_time", "weights"


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Where usage ran, as its event says; empty text is unknown."""

    engine_key_id: int
    engine_instance: str
    model: str
    tier: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """GPUs of an asset that serve a model in [valid_from, valid_to); `valid_to` None is open.

    The weights say how much of what a slot of `slot_s` seconds used each kind of token takes, as
    `weight_version` has it: of the weight set in force then, or of the deployment itself. At rest a
    GPU draws `idle_mw_per_gpu`; None is unknown. `instance_gpus` are those of its GPUs of which it
    is known by which instance they serve. Of each GPU it has `gpu_parts` of GPU_PARTS,
    which `mig_slices` are where it is cut by MIG; what runs on them is told apart by `gpu_split`. A
    step reads `prefill_chunk` tokens of a prompt at most; None: all of them.
    """

    deployment_id: str
    entity_id: str
    asset_id: str
    model: str
    tier: str | None
    gpu_count: int
    gpu_uuids: tuple[str, ...]
    engine_instances: tuple[str, ...]
    valid_from: datetime
    valid_to: datetime | None
    weight_version: int = 1
    weight_uncached: int = 1
    weight_cache_read: int = 0
    weight_cache_write: int = 1
    weight_output: int = 5
    weight_context: int = 0
    weight_step: int = 0
    idle_mw_per_gpu: int | None = None
    slot_s: int = SLOT_SECONDS
    weight_set_id: str | None = None
    weight_source: str = "declared"
    instance_gpus: Mapping[str, Sequence[str]] = field(default_factory=dict, hash=False)
    gpu_parts: int = GPU_PARTS
    mig_slices: tuple[str, ...] = ()
    gpu_split: str = BY_SHARE
    prefill_chunk: int | None = None

    @property
    def weights(self) -> Weights:
        """What each kind of work takes."""
        return Weights(
            self.weight_version,
            self.weight_uncached,
            self.weight_cache_read,
            self.weight_cache_write,
            self.weight_output,
            self.weight_context,
            self.weight_step,
        )

    @property
    def shares_gpus(self) -> bool:
        """Whether others may have a part of its GPUs: no meter tells what it took alone."""
        return self.gpu_parts < GPU_PARTS or bool(self.mig_slices) or self.splits_by_use

    @property
    def splits_by_use(self) -> bool:
        """Whether what its GPUs take goes to whose work ran there."""
        return self.gpu_split != BY_SHARE

    @property
    def scope(self) -> str:
        """The name of its cost lines."""
        return f"deployment:{self.deployment_id}"

    def engines(self) -> Sequence["Deployment"]:
        """Each instance on its own GPUs, where these are known, and what is left of the deployment;
        together they are all of it."""
        if not self.instance_gpus:
            return (self,)
        named = {gpu for gpus in self.instance_gpus.values() for gpu in gpus}
        apart = [
            self._part((name,), tuple(gpus), len(gpus))
            for name, gpus in sorted(self.instance_gpus.items())
        ]
        others = tuple(name for name in self.engine_instances if name not in self.instance_gpus)
        left = tuple(gpu for gpu in self.gpu_uuids if gpu not in named)
        return [*apart, self._part(others, left, len(left))] if left else apart

    def _part(self, names: tuple[str, ...], gpus: tuple[str, ...], count: int) -> "Deployment":
        return replace(
            self, engine_instances=names, gpu_uuids=gpus, gpu_count=count, instance_gpus={}
        )


@dataclass(frozen=True, slots=True)
class ServingDeployments:
    """The deployments of one moment, ready to be asked who served an attempt."""

    deployments: Sequence[Deployment]
    by_instance: dict[str, Deployment] = field(init=False)

    def __post_init__(self) -> None:
        named = {i: d for d in self.deployments for i in d.engine_instances}
        object.__setattr__(self, "by_instance", named)

    def of(self, key: EngineKey, entity_id: str | None) -> tuple[Deployment, ...]:
        """Who served usage of an entity's customer that ran at `key`; empty when nobody says so.

        Several deployments of one model that name no instance each share their cost over all of it.
        """
        named = self.by_instance.get(key.engine_instance)
        if named is not None:
            return (named,)
        serving = [d for d in self.deployments if not d.engine_instances and d.model == key.model]
        exact = [d for d in serving if d.tier == key.tier]
        matching = exact or [d for d in serving if d.tier is None]
        own = [d for d in matching if d.entity_id == entity_id]
        return tuple(sorted(own or matching, key=lambda d: d.deployment_id))
