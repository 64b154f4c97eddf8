"""What ending one thing means for others: members that go with it, and what needs it."""

from ledger.flows.reference.enter_checks import check_prices, check_written_off
from ledger.flows.reference.enter_site_cost import check_edges
from ledger.flows.reference.gpu_checks import check_capacity
from ledger.flows.reference.supersede import Written
from ledger.store.cost import cost_inputs
from ledger.store.dated import DatedRow
from ledger.store.queries import Connection
from ledger.wire.ask_inputs import EndAsk


async def check_asset(connection: Connection, row: DatedRow, asked: EndAsk, _: Written) -> None:
    """Refuse where deployments would be left without GPUs, or what is left without time."""
    await check_written_off(connection, row.values["asset_id"])
    await check_capacity(connection, row.values["asset_id"], asked)


async def check_card(connection: Connection, row: DatedRow, _asked: EndAsk, _: Written) -> None:
    """Refuse what leaves a card ambiguous."""
    await check_prices(connection, row.values["rate_card_id"])


async def check_site_cost(connection: Connection, row: DatedRow, asked: EndAsk, _: Written) -> None:
    """Refuse a part of the month or day that it is a cost of."""
    facility = await cost_inputs.find_facility(connection, row.values["facility_id"])
    assert facility is not None
    check_edges(row.values["name"], row.values["kind"], asked, facility.zone)


async def end_members(
    connection: Connection, _row: DatedRow, _asked: EndAsk, written: Written
) -> None:
    """GPUs and engine instances of a deployment are free from then on."""
    assert written.batch_seq is not None
    await cost_inputs.close_members(connection, written.closed, batch_seq=written.batch_seq)
    await cost_inputs.insert_members(connection, written.remaining)
