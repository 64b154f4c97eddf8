"""What must hold of GPUs before who serves on them is written: each is had once, and there."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from ledger.domain.energy.capacity import GpuShare, find_shortage
from ledger.domain.energy.gpu_part import GPU_PARTS, parts_of_share, share_of_gpu
from ledger.domain.errors import ConflictError
from ledger.flows.reference.supersede import describe_period, short_time
from ledger.store.cost import cost_inputs
from ledger.store.dated import DatedRow
from ledger.store.queries import Connection
from ledger.wire.inputs import DatedInput, NewDeployment


async def check_members(connection: Connection, new: NewDeployment) -> None:
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
        _check_gpu(others, new)


def _check_gpu(others: Sequence[DatedRow], new: NewDeployment) -> None:
    """Refuse more than all of a GPU, and parts of one in two assets."""
    elsewhere = [row for row in others if row.values["asset_id"] != new.asset_id]
    whole = [row for row in others if row.values["gpu_parts"] == GPU_PARTS]
    if whole or elsewhere:
        raise _serves("GPU", (elsewhere or whole)[0], "gpu_uuids")
    whole_gpu = GpuShare(GPU_PARTS, new.valid_from, new.valid_to)
    own = GpuShare(parts_of_share(new.gpu_share), new.valid_from, new.valid_to)
    short = find_shortage([whole_gpu], [*(_share(row, new, 1) for row in others), own])
    if short is not None:
        names = _names(others)
        left = share_of_gpu(GPU_PARTS - (short.deployed - own.parts))
        raise ConflictError(
            f"{left:f} of the GPU {others[0].values['member']} is left at"
            f" {short_time(short.moment)}, and {new.gpu_share:f} would be deployed beside {names}.",
            "Send a smaller share, or end another deployment first.",
            "gpu_share",
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
