"""Grants of credit, what was drawn of them, and what invoices took account of."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from ledger.domain.billing.grant import Applied, ChargedUse, Draw, Grant, UseKind
from ledger.domain.entity import LegalEntity
from ledger.store.billing.draft import Billable
from ledger.store.connect import CutOff
from ledger.store.dated import DatedTable
from ledger.store.queries import Connection, load_queries

GRANTS = load_queries("billing/grants")
RULE_ROWS = DatedTable(
    "top-up rule",
    ("customer_id", "currency"),
    GRANTS["find_open_rules"],
    GRANTS["supersede_rules"],
    GRANTS["insert_rule"],
)


@dataclass(frozen=True, slots=True)
class EnteredGrant:
    """A grant as it was entered; no meters or models are any."""

    entity_id: str
    grant_id: str
    customer_id: str
    kind: str
    currency: str
    amount: Decimal
    priority: int
    meters: tuple[str, ...]
    models: tuple[str, ...]
    granted_on: date
    starts_on: date
    expires_on: date | None
    order_id: int | None
    reference: str


@dataclass(frozen=True, slots=True)
class TopUpOrder:
    """Whose top-up was ordered, and the grant that it came to, if any."""

    customer_id: str
    currency: str
    grant_id: str | None


@dataclass(frozen=True, slots=True)
class DueCustomer:
    """From which local day on what a customer's grants paid is to be found anew."""

    customer_id: str
    day: date


@dataclass(frozen=True, slots=True)
class BookedDraw:
    """What grants of a kind paid of what a day was charged to a subscription."""

    customer_id: str
    day_start: datetime
    subscription_id: str
    currency: str
    kind: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class ExpiredGrant:
    """What of a prepaid grant was not used before it expired."""

    customer_id: str
    grant_id: str
    currency: str
    expires_on: date
    amount: Decimal


@dataclass(frozen=True, slots=True)
class DrawnOf:
    """What a grant was drawn for of a subscription's days, and no invoice says yet."""

    subscription_id: str
    grant_id: str
    currency: str
    amount: Decimal


@dataclass(slots=True)
class CustomerCredit:
    """What a customer's draws from a day on follow from, and what is stored of them."""

    grants: list[Grant] = field(default_factory=list)
    uses: list[ChargedUse] = field(default_factory=list)
    before: dict[tuple[str, UseKind], Decimal] = field(default_factory=dict)
    stored: list[Draw] = field(default_factory=list)


async def find_grant(
    connection: Connection, *, entity_id: str, grant_id: str
) -> EnteredGrant | None:
    """A grant, or None."""
    return await GRANTS["find_grant"].first(
        connection, EnteredGrant, entity_id=entity_id, grant_id=grant_id
    )


async def find_order(connection: Connection, *, entity_id: str, order_id: int) -> TopUpOrder | None:
    """An order of a top-up, or None."""
    return await GRANTS["find_order"].first(
        connection, TopUpOrder, entity_id=entity_id, order_id=order_id
    )


async def insert_grant(connection: Connection, grant: EnteredGrant, *, batch_seq: int) -> None:
    """Store a grant."""
    said = {name: getattr(grant, name) for name in EnteredGrant.__dataclass_fields__}
    await GRANTS["insert_grant"].run(connection, **said, batch_seq=batch_seq)


async def list_due(
    connection: Connection, entity: LegalEntity, *, since_seq: int, cut_off: CutOff, today: date
) -> list[DueCustomer]:
    """Customers of whom something changed since a cut-off that what grants pay follows from."""
    return await GRANTS["list_due"].values(
        connection,
        DueCustomer,
        entity_id=entity.entity_id,
        zone=entity.zone,
        since_seq=since_seq,
        batch_seq=cut_off.batch_seq,
        today=today,
    )


async def read_credit(
    connection: Connection, since: Sequence[tuple[str, datetime]], *, batch_seq: int
) -> dict[str, CustomerCredit]:
    """What draws of customers follow from, each from a moment on, as known at a cut-off."""
    customers = [customer_id for customer_id, _ in since]
    given = {"customers": customers, "sinces": [at for _, at in since]}
    credit = {customer_id: CustomerCredit() for customer_id in customers}
    grants = await GRANTS["list_grants_of"].values(
        connection, Grant, customers=customers, batch_seq=batch_seq
    )
    for grant in grants:
        credit[grant.customer_id].grants.append(grant)
    for row in await GRANTS["sum_drawn_before"].rows(connection, **given):
        kind = UseKind(row["subscription_id"], row["meter"], row["model"])
        credit[row["customer_id"]].before[row["grant_id"], kind] = row["amount"]
    for row in await GRANTS["sum_drawn_since"].rows(connection, **given):
        kind = UseKind(row["subscription_id"], row["meter"], row["model"])
        credit[row["customer_id"]].stored.append(
            Draw(row["grant_id"], row["day_start"], kind, row["currency"], row["amount"])
        )
    for row in await GRANTS["sum_uses"].rows(connection, **given, batch_seq=batch_seq):
        kind = UseKind(row["subscription_id"], row["meter"], row["model"])
        credit[row["customer_id"]].uses.append(
            ChargedUse(row["day_start"], kind, row["currency"], row["amount"])
        )
    return credit


async def insert_draws(
    connection: Connection,
    draws: Sequence[tuple[str, Draw]],
    *,
    entity_id: str,
    cut_off: CutOff,
    batch_seq: int,
) -> int:
    """Append what changed about what grants of customers paid; returns rows."""
    return await GRANTS["insert_draws"].run(
        connection,
        entity_id=entity_id,
        grants=[draw.grant_id for _, draw in draws],
        customers=[customer_id for customer_id, _ in draws],
        subscriptions=[draw.kind.subscription_id for _, draw in draws],
        days=[draw.day_start for _, draw in draws],
        meters=[draw.kind.meter for _, draw in draws],
        models=[draw.kind.model for _, draw in draws],
        currencies=[draw.currency for _, draw in draws],
        amounts=[draw.amount for _, draw in draws],
        cut_off_id=cut_off.cut_off_id,
        batch_seq=batch_seq,
    )


async def sum_draws_to_book(
    connection: Connection, days: Iterable[tuple[str, datetime]]
) -> list[BookedDraw]:
    """What grants paid of customers' days, zero where all was given back."""
    asked = sorted(set(days))
    return await GRANTS["sum_draws_to_book"].values(
        connection,
        BookedDraw,
        customers=[customer_id for customer_id, _ in asked],
        days=[day for _, day in asked],
    )


async def expire_grants(
    connection: Connection,
    customers: Sequence[str],
    *,
    today: date,
    cut_off: CutOff,
    batch_seq: int,
) -> tuple[int, list[ExpiredGrant]]:
    """Append what expired of customers' grants; returns rows, and all that did of prepaid ones."""
    rows = await GRANTS["expire_grants"].run(
        connection,
        customers=customers,
        today=today,
        cut_off_seq=cut_off.batch_seq,
        cut_off_id=cut_off.cut_off_id,
        batch_seq=batch_seq,
    )
    expired = await GRANTS["list_expired"].values(
        connection, ExpiredGrant, customers=customers, today=today
    )
    return rows, expired


async def note_events(
    connection: Connection, customers: Sequence[str], *, today: date, now: datetime, batch_seq: int
) -> int:
    """Append what customers' balances have to say, each once; returns rows."""
    return await GRANTS["note_events"].run(
        connection, customers=customers, today=today, now=now, batch_seq=batch_seq
    )


async def list_drawn_of(
    connection: Connection, asked: Sequence[Billable]
) -> dict[str, list[DrawnOf]]:
    """What was drawn for subscriptions' days before the ends of these periods and no invoice says
    yet, by subscription, in the order of drawing."""
    drawn: dict[str, list[DrawnOf]] = defaultdict(list)
    for each in await GRANTS["list_drawn_of"].values(
        connection,
        DrawnOf,
        subscriptions=[each.subscription_id for each in asked],
        customers=[each.customer_id for each in asked],
        untils=[each.period.end for each in asked],
    ):
        drawn[each.subscription_id].append(each)
    return drawn


async def insert_applied(
    connection: Connection,
    applied: Sequence[tuple[int, Applied]],
    *,
    batch_seq: int,
    taken_back: bool = False,
) -> None:
    """Keep what grants pay of invoices, by their ids, or that it was taken back."""
    await GRANTS["insert_applied"].run(
        connection,
        invoices=[invoice_id for invoice_id, _ in applied],
        taken_back=taken_back,
        grants=[each.grant_id for _, each in applied],
        charged_amounts=[each.charged_amount for _, each in applied],
        exact_amounts=[each.exact_amount for _, each in applied],
        amounts=[each.amount for _, each in applied],
        batch_seq=batch_seq,
    )


async def list_applied(connection: Connection, *, invoice_id: int) -> list[Applied]:
    """What grants pay of an invoice."""
    return await GRANTS["list_applied"].values(connection, Applied, invoice_id=invoice_id)
