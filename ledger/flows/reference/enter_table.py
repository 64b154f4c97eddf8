"""A price table entered on a rate card: what it changes of the card, and that as prices.

What the table does not name stays in force; what is held stays as the card says.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError
from ledger.domain.money import EXACT, plain
from ledger.domain.pricing.models import PRICE_MODELS
from ledger.domain.pricing.models.per_unit import PerUnit
from ledger.domain.pricing.rate_card import OUTCOME, CardPrice
from ledger.domain.pricing.tables.compare import PriceMove, TableComparison, compare_table
from ledger.domain.pricing.tables.row import PER_DIGITS, PricedUsage, per_of
from ledger.domain.pricing.tables.rules import PriceTable
from ledger.flows.reference.enter import enter_rate_card
from ledger.flows.reference.enter_checks import check_prices
from ledger.flows.reference.supersede import keep_write, short_time, writing
from ledger.store.connect import draw_batch_seq
from ledger.store.pricing import prices
from ledger.store.queries import Connection
from ledger.wire.price_inputs import NewRateCard


@dataclass(frozen=True, slots=True)
class TableTerms:
    """Which card a table is entered on, made if it is new, from when on, and what of it is let
    pass; `apply` False only says what would change."""

    card: NewRateCard
    source: str
    valid_from: datetime
    accepted: Set[str]
    apply: bool


async def enter_table(
    connection: Connection, table: PriceTable, terms: TableTerms, author: Author
) -> TableComparison:
    """Enter what a table changes of a card; ConflictError where the card has later prices."""
    card_id = terms.card.rate_card_id
    async with writing(connection):
        recorded = await prices.list_open_prices(connection, card_id)
        in_force = _in_force(recorded, terms)
        known = {usage: _amount(price) for usage, price in in_force.items()}
        compared = compare_table(known, table, terms.accepted)
        if terms.apply:
            await enter_rate_card(connection, terms.card, author)
            closed = [in_force[m.usage].price_id for m in compared.written if m.usage in in_force]
            await _write(connection, terms, closed, compared.written, author)
            await check_prices(connection, card_id)
    return compared


async def _write(
    connection: Connection,
    terms: TableTerms,
    closed: Sequence[int],
    moves: Sequence[PriceMove],
    author: Author,
) -> None:
    if not moves:
        return
    batch_seq = await draw_batch_seq(connection)
    if closed:
        await prices.CARD_PRICES.supersede(
            connection,
            row_ids=closed,
            valid_from=terms.valid_from,
            valid_to=None,
            batch_seq=batch_seq,
        )
    await prices.insert_prices(
        connection,
        [_row(move.usage, move.after) for move in moves if move.after is not None],
        rate_card_id=terms.card.rate_card_id,
        valid_from=terms.valid_from,
        batch_seq=batch_seq,
    )
    await keep_write(
        connection,
        author,
        batch_seq=batch_seq,
        action="enter price table",
        subject=terms.card.rate_card_id,
        detail={
            "source": terms.source,
            "valid_from": terms.valid_from,
            "prices": len(moves),
            "accepted": sorted(terms.accepted),
        },
    )


def _in_force(recorded: Iterable[CardPrice], terms: TableTerms) -> dict[PricedUsage, CardPrice]:
    """The prices that a table could say, of those in force from the moment on."""
    in_force: dict[PricedUsage, CardPrice] = {}
    for price in recorded:
        if price.model is None or any(_beyond_tables(price)):
            continue
        if price.valid_from > terms.valid_from or price.valid_to is not None:
            _check_ended(price, terms)
            continue
        usage = PricedUsage(price.model, price.meter, price.tier or "", price.band_from or 0)
        in_force[usage] = price
    return in_force


def _beyond_tables(price: CardPrice) -> tuple[object, ...]:
    """What no table names."""
    scope = (price.project_id, price.agent_id, price.adapter, price.region, price.hours)
    return *scope, price.meter == OUTCOME


def _check_ended(price: CardPrice, terms: TableTerms) -> None:
    """Refuse to enter a table before prices that were agreed for later."""
    if price.valid_to is None or price.valid_to > terms.valid_from:
        raise ConflictError(
            f"Rate card {terms.card.rate_card_id} has price {price.price_id} of {price.meter} from"
            f" {short_time(price.valid_from)} on, and a table holds from"
            f" {short_time(terms.valid_from)} on, without an end.",
            "Enter the table from a later day, or on another card.",
            "since",
        )


def _amount(price: CardPrice) -> Decimal | None:
    """For a million tokens; None where the price is of another kind."""
    is_per_unit = isinstance(price.price, PRICE_MODELS["per_unit"])
    return price.price.each_amount.scaleb(PER_DIGITS) if is_per_unit else None


def _row(usage: PricedUsage, amount: Decimal) -> Mapping[str, object]:
    per = per_of(usage.meter)
    each = amount.scaleb(len(str(per)) - 1 - PER_DIGITS, EXACT)
    said = PerUnit(amount=each, per=per).params
    return {
        "meter": usage.meter,
        "model": usage.model,
        "tier": usage.tier or None,
        "band_from": usage.band_from or None,
        "params": said | {"amount": plain(each)},
    }
