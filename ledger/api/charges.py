"""What usage comes to before it is invoiced: charges by dimensions, and the invoices to come."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from litestar import Request, Response, get
from litestar.params import FromQuery

from ledger import clock
from ledger.api.access import BY_ROWS, READERS, caller_of
from ledger.api.answer import answer
from ledger.api.apart import FLOWS, REPORTS
from ledger.api.reports import USAGE_NAMES, names_of, part_of, period_of
from ledger.api.session import reading, working
from ledger.api.shapes import show_draft
from ledger.domain.errors import InvalidInputError, NotFoundError
from ledger.domain.money import total
from ledger.domain.period import zone
from ledger.flows.billing.invoice import preview_invoice
from ledger.store import api_reads
from ledger.wire.errors import Rfc3339Error
from ledger.wire.rfc3339 import parse_rfc3339

DIMENSIONS = (*USAGE_NAMES, "meter")


@get("/v1/charges", roles=READERS, bound=BY_ROWS, apart=REPORTS)
async def charges(
    request: Request[Any, Any, Any],
    since: FromQuery[str],
    until: FromQuery[str],
    by: FromQuery[str] = "tier",
    customer: FromQuery[str | None] = None,
    entity: FromQuery[str | None] = None,
    time_zone: FromQuery[str] = "UTC",
) -> Response[bytes]:
    """What usage of a period comes to, exact and as it stands, by dimensions and currency; an
    amount is null where nothing of the group has a price yet."""
    who = _customer(request, customer)
    start, end = period_of(since, until)
    names = names_of(by, DIMENSIONS)
    zone(time_zone)
    async with reading(request) as connection:
        rows = await api_reads.sum_charges(
            connection, since=start, until=end, customer_id=who, entity_id=entity
        )
    items = _grouped(rows, names, time_zone)
    asked = {"since": start, "until": end, "zone": time_zone}
    return answer({**asked, "by": names, "items": items})


@get("/v1/invoices/coming", roles=READERS, bound=BY_ROWS, apart=FLOWS)
async def coming(
    request: Request[Any, Any, Any],
    customer: FromQuery[str | None] = None,
    at: FromQuery[str | None] = None,
) -> Response[bytes]:
    """The invoices a customer is to get for the billing periods that hold `at` (now), as of now."""
    who = _customer(request, customer)
    if who is None:
        raise InvalidInputError("customer is missing.", "Name a customer.", "customer")
    now = clock.now()
    try:
        moment = now if at is None else parse_rfc3339(at)
    except Rfc3339Error as error:
        raise InvalidInputError(f"at: {error}.", "Send RFC 3339.", "at") from error
    async with reading(request) as connection:
        names = await api_reads.list_open_subscriptions(connection, customer_id=who, moment=moment)
    # Row-level security has said which subscriptions the caller may see; drafts are the worker's.
    async with working(request) as connection:
        drafts = [
            await preview_invoice(connection, subscription_id=name, moment=moment, now=now)
            for name in names
        ]
    return answer({"items": [show_draft(draft) for draft in drafts], "next": None})


def _customer(request: Request[Any, Any, Any], asked: str | None) -> str | None:
    """Whose: a customer key's own, whatever is asked; NotFoundError where that is another's."""
    caller = caller_of(request)
    if caller.role != "customer":
        return asked
    if asked not in (None, caller.customer_id):
        raise NotFoundError(f"There is no customer {asked!r}.")
    return caller.customer_id


def _grouped(rows: Sequence[Any], names: Sequence[str], zone_name: str) -> list[dict[str, Any]]:
    groups: dict[tuple[tuple[str, ...], str], list[Any]] = defaultdict(list)
    for row in rows:
        group = tuple(part_of(row, name, zone_name) for name in names)
        groups[group, row["currency"] or ""].append(row)
    return [
        {
            **dict(zip(names, group, strict=True)),
            "currency": currency or None,
            "amount": _amount(found),
            "quantity": sum(row["quantity"] for row in found),
            "unpriced_quantity": sum(row["unpriced_quantity"] for row in found),
        }
        for (group, currency), found in sorted(groups.items())
    ]


def _amount(rows: Sequence[Any]) -> Decimal | None:
    known = [row["amount"] for row in rows if row["amount"] is not None]
    return total(known) if known else None


HANDLERS = (charges, coming)
