"""Costs of sites entered by hand: a rule of the month is valid for whole months of the site."""

from datetime import datetime, time
from decimal import Decimal

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ledger.domain.money import check_currency, plain
from ledger.domain.period import zone
from ledger.flows.reference.supersede import describe_period, keep_write, write_dated, writing
from ledger.store.cost import cost_inputs, site_costs
from ledger.store.queries import Connection
from ledger.wire.inputs import DatedInput
from ledger.wire.site_inputs import NewSiteCost

MONTHLY = frozenset({"demand", "tiers"})
DAILY = frozenset({"percent", "bill"})


async def enter_site_cost(
    connection: Connection, new: NewSiteCost, author: Author, *, replace: bool = False
) -> int:
    """Record a cost of a site; returns its row."""
    check_currency(new.currency)
    values = {
        "facility_id": new.facility_id,
        "name": new.name,
        "currency": new.currency,
        "kind": new.kind,
        "params": _params(new.terms.model_dump(exclude_none=True)),
    }
    async with writing(connection):
        facility = await cost_inputs.find_facility(connection, new.facility_id)
        if facility is None:
            raise NotFoundError(f"There is no facility {new.facility_id}.", "Enter it first.")
        check_edges(new.name, new.kind, new, facility.zone)
        await _check_bills(connection, new)
        written = await write_dated(
            connection, site_costs.SITE_COSTS, values, valid=new, replace=replace
        )
        if written.batch_seq is not None:
            await keep_write(
                connection,
                author,
                batch_seq=written.batch_seq,
                action="enter site cost",
                subject=f"{new.facility_id} / {new.name}",
                detail=new.model_dump(exclude_none=True),
            )
    return written.row_id


def _params(value: object) -> object:
    """As JSON keeps it: decimals are text, lists are lists."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, dict):
        return {name: _params(each) for name, each in value.items()}
    return [_params(each) for each in value] if isinstance(value, list | tuple) else value


def check_edges(name: str, kind: str, valid: DatedInput, zone_name: str) -> None:
    """Refuse a month's rule for less than a month, and a day's for less than a day."""
    for field in ("valid_from", "valid_to"):
        moment: datetime | None = getattr(valid, field)
        if moment is None or kind not in MONTHLY | DAILY:
            continue
        local = moment.astimezone(zone(zone_name))
        if local.time() == time() and (kind in DAILY or local.day == 1):
            continue
        step = "month" if kind in MONTHLY else "day"
        raise InvalidInputError(
            f"{name} is a cost of whole {step}s in {zone_name}, but its {field} is {local}.",
            f"Send the first moment of a {step} there.",
            field,
        )


async def _check_bills(connection: Connection, new: NewSiteCost) -> None:
    """Refuse a second bill of the same kind of cost and time: the first is made up for already."""
    if new.bill is None:
        return
    others = await site_costs.find_open_bills(
        connection, new.facility_id, valid_from=new.valid_from, valid_to=new.valid_to
    )
    for other in others:
        both = sorted({*new.bill.of} & {*other.of})
        if other.name != new.name and both:
            raise ConflictError(
                f"{both[0]} is already billed by {other.name}"
                f" {describe_period(other.valid_from, other.valid_to)}.",
                "Replace that bill, or leave this kind of cost out.",
                "bill.of",
            )
