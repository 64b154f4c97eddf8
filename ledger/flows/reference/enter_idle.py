"""Policies of idle entered by hand: who pays for what stood still, from when to when."""

from ledger.domain.author import Author
from ledger.domain.cost.idle_policy import ASSET
from ledger.domain.errors import InvalidInputError, NotFoundError
from ledger.flows.reference.supersede import keep_write, write_dated, writing
from ledger.store import parties
from ledger.store.cost import idle_policies
from ledger.store.queries import Connection
from ledger.wire.idle_inputs import NewIdlePolicy


async def enter_idle_policy(
    connection: Connection, new: NewIdlePolicy, author: Author, *, replace: bool = False
) -> int:
    """Record who pays for idle; returns its row.

    Refused for a scope of another entity or of nobody, and for a tier that nothing is served on.
    """
    async with writing(connection):
        if await parties.find_entity(connection, new.entity_id) is None:
            raise NotFoundError(f"There is no entity {new.entity_id}.", "Enter it first.")
        await _check_scope(connection, new)
        await _check_tiers(connection, new)
        values = new.model_dump(mode="json", exclude={"valid_from", "valid_to"})
        written = await write_dated(
            connection,
            idle_policies.IDLE_POLICIES,
            values | {"scope": new.scope or ""},
            valid=new,
            replace=replace,
        )
        if written.batch_seq is not None:
            await keep_write(
                connection,
                author,
                batch_seq=written.batch_seq,
                action="enter idle policy",
                subject=f"{new.entity_id} / {new.scope or 'every deployment'}",
                detail=new.model_dump(exclude_none=True),
            )
    return written.row_id


async def _check_scope(connection: Connection, new: NewIdlePolicy) -> None:
    if new.scope is None:
        return
    owner = await idle_policies.find_scope_owner(connection, new.scope)
    if owner != new.entity_id:
        what = "asset" if new.scope.startswith(ASSET) else "deployment"
        raise InvalidInputError(
            f"{new.scope} is no {what} of {new.entity_id}.", f"Name an {what} of it.", "scope"
        )


async def _check_tiers(connection: Connection, new: NewIdlePolicy) -> None:
    known = await idle_policies.list_tiers(connection, new.entity_id)
    unknown = sorted({*new.reserved} - {*known})
    if unknown:
        raise InvalidInputError(
            f"Nothing of {new.entity_id} is served on tier {', '.join(unknown)}.",
            f"Name tiers that there are: {', '.join(known) or 'none yet'}.",
            "reserved",
        )
