"""Reservations: held before something is used, settled by its usage event, or let go."""

from litestar import Response, post
from litestar.params import FromPath

from ledger import clock
from ledger.api.access import BY_NAMES, RESERVERS, caller_of
from ledger.api.answer import answer
from ledger.api.request import ApiRequest
from ledger.api.session import read_body, write
from ledger.api.state import state_of
from ledger.domain.author import Author
from ledger.flows.billing.reserve import ask_for, find_holder, release
from ledger.store.queries import Connection
from ledger.wire.budget_inputs import NewReservation, ReservationRelease


@post("/v1/reservations", roles=RESERVERS, bound=BY_NAMES)
async def reserve(request: ApiRequest) -> Response[bytes]:
    """Hold the most that usage to come can cost, in every budget that it falls under.

    The same id again is the same reservation. Its usage event settles it by naming it.
    """
    new, caller = await read_body(request, NewReservation), caller_of(request)
    ask = ask_for(
        new,
        actor=caller.key_id,
        own_customer=caller.customer_id,
        only_customers=caller.customers,
        only_entity=caller.entity_id,
    )
    return answer(await state_of(request).reservations.reserve(ask), status=201)


@post(
    "/v1/reservations/{key:str}/release",
    roles=RESERVERS,
    bound=BY_NAMES,
    status_code=200,
)
async def release_reservation(request: ApiRequest, key: FromPath[str]) -> Response[bytes]:
    """Let go what is held under an id, of a request that will not be made."""
    given, caller = await read_body(request, ReservationRelease), caller_of(request)

    async def work(connection: Connection, _: Author) -> dict[str, str]:
        customer_id = await find_holder(
            connection,
            given.customer_id or caller.customer_id,
            own_customer=caller.customer_id,
            only_customers=caller.customers,
            only_entity=caller.entity_id,
            now=clock.now(),
        )
        state = await release(
            connection, customer_id=customer_id, reservation_id=key, now=clock.now()
        )
        return {"reservation_id": key, "customer_id": customer_id, "state": state}

    concerns = {"customer_id": given.customer_id or caller.customer_id}
    return await write(request, work, concerns=concerns, status=200)


HANDLERS = (reserve, release_reservation)
