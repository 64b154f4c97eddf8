"""A utility's bill entered: of whole days that are over, in the unit and currency of its site.

A final bill takes the place of estimated ones whose days it has; of no bill a part stays, since
nobody knows what of its amount were those days.
"""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from ledger.domain.author import Author
from ledger.domain.cost.utility_bill import UNIT_JUMP, UtilityBill, is_other_unit
from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ledger.domain.money import check_currency, multiply, plain
from ledger.domain.period import Period, describe_days, midnight
from ledger.flows.reference.supersede import keep_write, writing
from ledger.store.connect import AS_IT_STANDS, draw_batch_seq
from ledger.store.cost import cost_inputs, site_costs, utility_bills
from ledger.store.cost.utility_bills import RecordedBill
from ledger.store.queries import Connection
from ledger.wire.bill_inputs import NewUtilityBill
from ledger.wire.site_inputs import UTILITY_BILL
from ledger.wire.units import MJ_PER_KWH


async def enter_utility_bill(
    connection: Connection, new: NewUtilityBill, author: Author, *, replace: bool = False
) -> int:
    """Record a bill; returns its row."""
    check_currency(new.currency)
    async with writing(connection):
        facility = await cost_inputs.find_facility(connection, new.facility_id)
        if facility is None:
            raise NotFoundError(f"There is no facility {new.facility_id}.", "Enter it first.")
        bill = _bill_of(new, facility.zone)
        await _check(connection, bill, facility.zone)
        rivals = await utility_bills.find_rival_bills(connection, bill)
        if [each.bill for each in rivals] == [bill]:
            return rivals[0].row_id
        _check_rivals(rivals, bill, facility.zone, replace=replace)
        batch_seq = await draw_batch_seq(connection)
        row_id = await utility_bills.write_bill(
            connection, bill, closes=[each.row_id for each in rivals], batch_seq=batch_seq
        )
        await keep_write(
            connection,
            author,
            batch_seq=batch_seq,
            action="enter utility bill",
            subject=f"{bill.facility_id} / {bill.bill_id}",
            detail=new.model_dump(exclude_none=True),
        )
    return row_id


def _bill_of(new: NewUtilityBill, zone_name: str) -> UtilityBill:
    return UtilityBill(
        bill_id=new.bill_id,
        facility_id=new.facility_id,
        currency=new.currency,
        kwh=new.kwh,
        net=new.amount,
        tax=new.tax,
        covers=new.covers,
        reference=new.reference,
        final=new.final,
        period=Period(
            midnight(new.first_day, zone_name),
            midnight(new.last_day + timedelta(days=1), zone_name),
        ),
    )


async def _check(connection: Connection, bill: UtilityBill, zone_name: str) -> None:
    """Refuse a bill of days to come, without hardware of ours, in another currency or unit."""
    if not await utility_bills.is_over(connection, bill.period.end):
        raise InvalidInputError(
            f"The days {describe_days(bill.period, zone_name)} are not over in {zone_name}.",
            "Send it once its last day is.",
            "last_day",
        )
    priced = await utility_bills.find_priced_in(connection, bill)
    if "hardware" not in {what for what, _ in priced}:
        raise InvalidInputError(
            f"No GPU of ours is at {bill.facility_id} in the days of the bill.",
            "Enter its assets first, or name the site that the bill is of.",
            "facility_id",
        )
    for what, currency in priced:
        if currency != bill.currency:
            raise InvalidInputError(
                f"The {what} of {bill.facility_id} is in {currency} then, the bill in"
                f" {bill.currency}.",
                "Send it in the currency that the site's costs are in: costs are not converted.",
                "currency",
            )
    await _check_covers(connection, bill)
    await _check_unit(connection, bill)


async def _check_covers(connection: Connection, bill: UtilityBill) -> None:
    others = await site_costs.find_open_bills(
        connection, bill.facility_id, valid_from=bill.period.start, valid_to=bill.period.end
    )
    for other in others:
        both = sorted({*bill.covers} & {*other.of, other.name})
        if both and bill.final and other.name != UTILITY_BILL:
            raise ConflictError(
                f"{both[0]} is already made up for by the site cost {other.name}.",
                "Leave it out of covers, or end that cost.",
                "covers",
            )


async def _check_unit(connection: Connection, bill: UtilityBill) -> None:
    use = await site_costs.find_use(
        connection,
        bill.facility_id,
        since=bill.period.start,
        until=bill.period.end,
        batch_seq=AS_IT_STANDS,
    )
    metered_mj = sum(window.energy_mj for window in use.windows)
    if is_other_unit(bill.kwh, metered_mj):
        metered = multiply(Decimal(metered_mj), 1) / MJ_PER_KWH
        raise InvalidInputError(
            f"The bill says {plain(bill.kwh)} kWh where {metered:.3f} were metered, over"
            f" {UNIT_JUMP} times more or less.",
            "Send kWh, not Wh or MWh, and of a bill with other users the part that is ours.",
            "kwh",
        )


def _check_rivals(
    rivals: Sequence[RecordedBill], bill: UtilityBill, zone_name: str, *, replace: bool
) -> None:
    """Refuse a bill that others stand against."""
    for _, other in rivals:
        whole = bill.period.start <= other.period.start and other.period.end <= bill.period.end
        yields = bill.final and not other.final
        if (replace or yields) and (whole or other.bill_id == bill.bill_id):
            continue
        days = describe_days(other.period, zone_name)
        kind = "final" if other.final else "estimated"
        raise ConflictError(
            f"The {kind} utility bill {other.bill_id} of {other.facility_id} is already recorded"
            f" {days}, over {plain(other.net)} {other.currency}.",
            "Replace it by a bill of the same id, or of all its days: none is cut."
            if not whole
            else "Send other days, or replace it.",
            "first_day",
        )
