"""Holds what usage to come may cost of the budgets it falls under, and lets it go.

Usage events settle what they name as they are stored (`flows.metering.ingest`), so that nothing is
lost where nobody comes back; what has expired counts no more, whoever has run since.
"""

from collections.abc import Sequence
from datetime import datetime

from ledger.domain.billing.reservation import Ask, Held, answer_of
from ledger.domain.errors import ForbiddenError, LedgerError, NotFoundError
from ledger.store.billing import budgets as store
from ledger.store.queries import Connection
from ledger.wire.budget_inputs import NewReservation

_APART = {"reservation_id", "customer_id"}


def ask_for(  # what is asked for, and by whom
    new: NewReservation,
    *,
    actor: str,
    own_customer: str | None = None,
    only_customers: Sequence[str] = (),
    only_entity: str | None = None,
) -> Ask:
    """What a key asks for; a customer's own key reserves for its customer, whatever is left out.

    ForbiddenError where it names another, NotFoundError where nobody says whose it is.
    """
    customer = new.customer_id or own_customer
    if customer is None:
        raise NotFoundError("Nobody says whose reservation it is.", "Send customer_id.")
    if own_customer is not None and customer != own_customer:
        raise ForbiddenError(
            f"This key reserves for customer {own_customer} only.", "Leave customer_id out."
        )
    return Ask(
        reservation_id=new.reservation_id,
        customer=customer,
        said=new.model_dump(exclude=_APART, exclude_none=True),
        expires_in_s=new.expires_in_s,
        actor=actor,
        only_customers=only_customers or None,
        only_entity=only_entity,
    )


async def reserve(
    connection: Connection, asks: Sequence[Ask], *, now: datetime
) -> list[Held | LedgerError]:
    """What became of each, in order: one transaction in one round trip, and each as if alone.

    No two of `asks` have one id; asyncpg.SerializationError where another came first with one.
    """
    answered = await store.reserve(connection, asks, now=now)
    by_ask = {each.ask: each for each in answered}
    return [
        answer_of(ask, by_ask[number].outcome, by_ask[number].detail)
        for number, ask in enumerate(asks)
    ]


async def find_holder(  # whose it is, and who asks
    connection: Connection,
    customer: str | None,
    *,
    own_customer: str | None = None,
    only_customers: Sequence[str] = (),
    only_entity: str | None = None,
    now: datetime,
) -> str:
    """Our id of the customer of a name, if who asks may act for it.

    ForbiddenError where it may not, NotFoundError where nobody is meant.
    """
    if customer is None:
        raise NotFoundError("Nobody says whose reservation it is.", "Send customer_id.")
    holder = await store.find_customer_named(connection, customer, at=now)
    if holder is None:
        raise NotFoundError(f"There is no customer {customer}.", "List customers to see their ids.")
    own = own_customer in (None, holder.customer_id)
    bound = not only_customers or holder.customer_id in only_customers
    if not (own and bound and only_entity in (None, holder.entity_id)):
        raise ForbiddenError(
            f"This key may not reserve for customer {customer}.", "Use a key of that customer."
        )
    return holder.customer_id


async def release(
    connection: Connection, *, customer_id: str, reservation_id: str, now: datetime
) -> str:
    """Let go what is held under an id; how it has ended: `released`, or what came before."""
    state = await store.release(
        connection, customer_id=customer_id, reservation_id=reservation_id, now=now
    )
    if state is None:
        raise NotFoundError(
            f"Customer {customer_id} has no reservation {reservation_id}.",
            "List reservations to see their ids.",
        )
    return state
