"""What must hold of GPUs before who serves on them is written: each is had once, and there."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ledger.domain.energy.capacity import GpuShare, find_shortage
from ledger.domain.energy.gpu_part import GPU_PARTS, parts_of_share, share_of_gpu
from ledger.domain.energy.mig import MigGpu, check_slices
from ledger.domain.errors import ConflictError
from ledger.flows.reference.supersede import describe_period, short_time
from ledger.store.cost import cost_inputs
from ledger.store.dated import DatedRow
from ledger.store.queries import Connection
from ledger.wire.factory_inputs import NewDeployment
from ledger.wire.inputs import DatedInput


@dataclass(frozen=True, slots=True)
class WantedPart:
    """What a deployment asks for of each of its GPUs, and how these are cut where they are."""

    parts: int
    mig: MigGpu | None = None


def wanted_of(new: NewDeployment, assets: Iterable[DatedRow]) -> WantedPart:
    """Its share, or what its slices are of GPUs as the asset has them; InvalidInputError where
    these have no such slices."""
    if not new.mig_slices:
        return WantedPart(parts_of_share(new.gpu_share))
    cut = [check_slices(row.values["gpu_type"], new.mig_slices) for row in assets]
    return WantedPart(cut[0].parts_of(new.mig_slices), cut[0])


async def check_members(connection: Connection, new: NewDeployment, wanted: WantedPart) -> None:
    """Refuse engine instances that serve another deployment meanwhile, and GPUs that others leave
    less of than is asked for."""
    taken = await cost_inputs.find_open_members(
        connection,
        gpu_uuids=new.gpu_uuids,
        engine_instances=new.engine_instances,
        valid_from=new.valid_from,
        valid_to=new.valid_to,
    )
    gpus: dict[str, list[DatedRow]] = defaultdict(list)
    for row in taken:
        if row.values["deployment_id"] == new.deployment_id:
            continue
        if row.values["kind"] == "instance":
            raise _serves("engine instance", row, "engine_instances")
        gpus[row.values["member"]].append(row)
    for others in gpus.values():
        _check_gpu(others, new, wanted)


def _check_gpu(others: Sequence[DatedRow], new: NewDeployment, wanted: WantedPart) -> None:
    """Refuse more than all of a GPU, parts of one in two assets, and of one that is sliced."""
    elsewhere = [row for row in others if row.values["asset_id"] != new.asset_id]
    whole = [row for row in others if row.values["gpu_parts"] == GPU_PARTS]
    if whole or elsewhere:
        raise _serves("GPU", (elsewhere or whole)[0], "gpu_uuids")
    for row in others:
        if bool(row.values["mig_slices"]) != bool(new.mig_slices):
            raise _is_cut(row)
        _check_split(row, new)
    whole_gpu = GpuShare(GPU_PARTS, new.valid_from, new.valid_to)
    own = GpuShare(wanted.parts, new.valid_from, new.valid_to)
    short = find_shortage([whole_gpu], [*(_share(row, new, 1) for row in others), own])
    if short is not None:
        left, asked = _gpus(GPU_PARTS - (short.deployed - own.parts)), _gpus(own.parts)
        raise ConflictError(
            f"{left} of the GPU {others[0].values['member']} is left at"
            f" {short_time(short.moment)}, and {asked} would be deployed beside {_names(others)}.",
            "Send less of it, or end another deployment first.",
            "mig_slices" if wanted.mig else "gpu_share",
        )
    if wanted.mig is not None:
        _check_memory(others, new, wanted.mig)


def _is_cut(row: DatedRow) -> ConflictError:
    gpu, name = row.values["member"], row.values["deployment_id"]
    if row.values["mig_slices"]:
        wrong, remedy = f"The GPU {gpu} is cut into slices for deployment", "Send mig_slices"
    else:
        wrong, remedy = (
            f"The GPU {gpu} is not cut: a share of it is of deployment",
            "Send gpu_share",
        )
    return ConflictError(
        f"{wrong} {name} {describe_period(row.valid_from, row.valid_to)}.",
        f"{remedy}, or end that deployment first.",
        "mig_slices",
    )


def _check_split(row: DatedRow, new: NewDeployment) -> None:
    """Refuse a GPU that is split in two manners, or by what ran in slots of two lengths."""
    gpu, name = row.values["member"], row.values["deployment_id"]
    if row.values["gpu_split"] != new.gpu_split:
        raise ConflictError(
            f"The GPU {gpu} is split by {row.values['gpu_split']} for deployment {name}.",
            "Send the same gpu_split for all who use it.",
            "gpu_split",
        )
    if new.gpu_split != "share" and row.values["slot_s"] != new.slot_s:
        raise ConflictError(
            f"On the GPU {gpu} deployment {name} is weighed in slots of {row.values['slot_s']} s.",
            "Send the same slot_s for all who use it.",
            "slot_s",
        )


def _check_memory(others: Sequence[DatedRow], new: NewDeployment, mig: MigGpu) -> None:
    """Refuse slices that have more memory together than the GPU: compute alone would allow them."""
    there = GpuShare(mig.memory, new.valid_from, new.valid_to)
    own = GpuShare(mig.memory_of(new.mig_slices), new.valid_from, new.valid_to)
    taken = [_share(row, new, 1, mig.memory_of(row.values["mig_slices"])) for row in others]
    short = find_shortage([there], [*taken, own])
    if short is not None:
        raise ConflictError(
            f"Slices of the GPU {others[0].values['member']} would have {short.deployed} of its"
            f" {mig.memory} memory slices at {short_time(short.moment)}, beside {_names(others)}.",
            "Send smaller slices, or end another deployment first.",
            "mig_slices",
        )


def _serves(what: str, row: DatedRow, field: str) -> ConflictError:
    return ConflictError(
        f"The {what} {row.values['member']} serves deployment {row.values['deployment_id']} of"
        f" asset {row.values['asset_id']} {describe_period(row.valid_from, row.valid_to)}.",
        "End that deployment first, or choose another time.",
        field,
    )


async def check_capacity(connection: Connection, asset_id: str, valid: DatedInput) -> None:
    """Refuse more deployed GPUs than an asset has at any moment of a validity."""
    since, until = valid.valid_from, valid.valid_to
    owned = await cost_inputs.ASSETS.find_open(
        connection, {"asset_id": asset_id}, valid_from=since, valid_to=until
    )
    deployed = await cost_inputs.list_asset_deployments(
        connection, asset_id, valid_from=since, valid_to=until
    )
    there = [_share(row, valid, row.values["gpu_count"], GPU_PARTS) for row in owned]
    used = [_share(row, valid, row.values["gpu_count"]) for row in deployed]
    shortage = find_shortage(there, used)
    if shortage is not None:
        available, asked = (_gpus(parts) for parts in (shortage.available, shortage.deployed))
        raise ConflictError(
            f"Asset {asset_id} has {available} GPUs at {short_time(shortage.moment)}, but"
            f" {asked} would be deployed ({_names(deployed)}).",
            "Deploy fewer GPUs, or end another deployment first.",
            "gpu_count",
        )


def _gpus(parts: int) -> str:
    return f"{share_of_gpu(parts):f}"


def _names(rows: Iterable[DatedRow]) -> str:
    return ", ".join(sorted({row.values["deployment_id"] for row in rows}))


def _share(row: DatedRow, within: DatedInput, gpus: int, parts: int | None = None) -> GpuShare:
    # Outside the new validity nothing changes, so nothing is looked at.
    start = max(row.valid_from, within.valid_from)
    ends = [end for end in (row.valid_to, within.valid_to) if end is not None]
    each = row.values["gpu_parts"] if parts is None else parts
    return GpuShare(gpus * each, start, min(ends) if ends else None)
