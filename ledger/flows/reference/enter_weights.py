"""Weight sets as people or a calibration propose them: nothing is in force that nobody entered."""

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, NotFoundError
from ledger.flows.reference.supersede import describe_period, keep_write, write_dated, writing
from ledger.store.cost import cost_inputs
from ledger.store.queries import Connection
from ledger.wire.weight_inputs import WEIGHTS, NewWeightSet


async def enter_weight_set(
    connection: Connection, new: NewWeightSet, author: Author, *, replace: bool = False
) -> int:
    """Record what each kind of work takes at a deployment; returns its row.

    Refused for a deployment that nobody runs then, and under a version that has other weights: a
    version of a deployment means the same weights for ever.
    """
    async with writing(connection):
        deployed = await cost_inputs.DEPLOYMENTS.find_open(
            connection,
            {"deployment_id": new.deployment_id},
            valid_from=new.valid_from,
            valid_to=new.valid_to,
        )
        if not deployed:
            period = describe_period(new.valid_from, new.valid_to)
            raise NotFoundError(
                f"There is no deployment {new.deployment_id} {period}.", "Enter it first."
            )
        await _check_version(connection, new)
        said = new.model_dump(mode="json", exclude={"valid_from", "valid_to"})
        values = said | {"entity_id": deployed[0].values["entity_id"]}
        written = await write_dated(
            connection, cost_inputs.WEIGHT_SETS, values, valid=new, replace=replace
        )
        if written.batch_seq is not None:
            await keep_write(
                connection,
                author,
                batch_seq=written.batch_seq,
                action="enter weight set",
                subject=f"{new.deployment_id} / {new.weight_set_id}",
                detail=new.model_dump(exclude_none=True),
            )
    return written.row_id


async def _check_version(connection: Connection, new: NewWeightSet) -> None:
    weights = {name: getattr(new, name) for name in WEIGHTS}
    other = await cost_inputs.find_other_weights(
        connection, new.deployment_id, new.version, weights
    )
    if other is not None:
        raise ConflictError(
            f"Version {new.version} of the weights of {new.deployment_id} is that of {other}, with"
            " other weights.",
            "Send the next version.",
            "version",
        )
