"""`tokenledger reserve`: hold what usage to come may cost, from a file, or let it go."""

from collections.abc import Sequence
from pathlib import Path

import click

from ledger import clock
from ledger.commands.data.imports import pairs, read_models, select_rows
from ledger.commands.data.show import json_option, print_items, print_json, print_table
from ledger.commands.groups import group
from ledger.commands.options import row_options
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.domain.billing.reservation import Ask, Held
from ledger.domain.errors import LedgerError, OverBudgetError
from ledger.flows.billing.reserve import ask_for, find_holder, release, reserve
from ledger.store.queries import Connection
from ledger.wire.budget_inputs import NewReservation


@group("reserve")
def reserve_() -> None:
    """Hold what usage to come may cost of the budgets it falls under, and let it go."""


@reserve_.command()
@row_options
@json_option
@database_options
def hold(
    database: Database,
    file: Path,
    *,
    mapped: Sequence[str],
    fixed: Sequence[str],
    where: Sequence[str],
    delimiter: str,
    reason: str | None,
    as_json: bool,
) -> None:
    """Hold what each row of FILE asks for, one after the other; those that do not fit are named."""
    rows = select_rows(file, delimiter=delimiter, where=where)
    columns, said = pairs(mapped, "--map"), pairs(fixed, "--set")
    models = read_models(file, rows, NewReservation, mapped=columns, fixed=said)
    actor = author_of(reason, f"reservations of {file.name}").actor
    asks = [ask_for(new, actor=actor) for _, new in models if isinstance(new, NewReservation)]
    answers = database.run(lambda connection: _each(connection, asks))
    held = [answer for answer in answers if isinstance(answer, Held)]
    refused = [answer for answer in answers if isinstance(answer, LedgerError)]
    _show(held, as_json=as_json)
    if refused:
        more = f" And {len(refused) - 1} more." if len(refused) > 1 else ""
        raise OverBudgetError(f"{len(refused)} of {len(answers)} were refused: {refused[0]}{more}")


async def _each(connection: Connection, asks: Sequence[Ask]) -> list[Held | LedgerError]:
    return [answer for ask in asks for answer in await reserve(connection, [ask], now=clock.now())]


def _show(held: Sequence[Held], *, as_json: bool) -> None:
    if as_json:
        print_items([_shown(each) for each in held])
        return
    rows = [
        (each.reservation_id, each.customer_id, hold.budget_id, hold.amount, hold.unit, hold.left)
        for each in held
        for hold in each.holds
    ]
    columns = ("reservation", "customer", "budget", "held", "unit", "left")
    print_table(f"{len(held)} reservations held", columns, rows)


def _shown(held: Held) -> dict[str, object]:
    return {
        "reservation_id": held.reservation_id,
        "customer_id": held.customer_id,
        "expires_at": held.expires_at,
        "holds": held.holds,
    }


@reserve_.command("release")
@click.argument("reservation_id")
@click.option("--customer", "customer", required=True, help="Whose reservation it is.")
@json_option
@database_options
def release_(database: Database, reservation_id: str, customer: str, as_json: bool) -> None:
    """Let go what is held under RESERVATION_ID, of a request that will not be made."""

    async def work(connection: Connection) -> str:
        now = clock.now()
        customer_id = await find_holder(connection, customer, now=now)
        return await release(
            connection, customer_id=customer_id, reservation_id=reservation_id, now=now
        )

    state = database.run(work)
    if as_json:
        print_json({"reservation_id": reservation_id, "state": state})
    else:
        click.echo(f"Reservation {reservation_id} is {state}.")
