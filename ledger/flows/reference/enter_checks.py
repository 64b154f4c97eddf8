"""What must hold before a slow fact is written, each refusal naming what stands against it."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from ledger.domain.cost.asset import OwnedTerms, schedule_of
from ledger.domain.errors import ConflictError, InvalidInputError
from ledger.domain.money import ZERO, multiply, plain
from ledger.domain.period import WINDOW
from ledger.domain.pricing.models import load_stored_price
from ledger.domain.pricing.price_model import PriceModel
from ledger.domain.pricing.rate_card import check_card
from ledger.domain.pricing.tables.compare import MODEL_JUMP, UNIT_JUMP, is_other_unit
from ledger.flows.reference.supersede import describe_period
from ledger.store.cost import cost_inputs
from ledger.store.pricing import prices
from ledger.store.queries import Connection
from ledger.wire.input_fields import FIRST_MOMENT
from ledger.wire.inputs import DatedInput, FxRate, NewSubscription
from ledger.wire.tariff_inputs import SeriesPeriod, TariffPeriod


def check_apart(offered: Sequence[SeriesPeriod], noun: str = "price") -> None:
    """Refuse two prices, or the like, of one moment; `offered` is in order of start."""
    for before, after in pairwise(offered):
        if after.start < before.until:
            raise InvalidInputError(
                f"Two {noun}s overlap: one {describe_period(before.start, before.until)}, the next"
                f" {describe_period(after.start, after.until)}.",
                f"Send one {noun} for each moment; name the rows you mean where a file has more.",
                f"{noun}s",
            )


async def find_fresh_prices(
    connection: Connection,
    tariff: cost_inputs.Tariff,
    offered: Sequence[TariffPeriod],
    replace: bool,
) -> list[TariffPeriod]:
    """The prices not recorded already; ConflictError where other ones are, unless `replace`."""
    stored = await cost_inputs.find_open_tariff_prices(
        connection,
        tariff.facility_id,
        since=offered[0].start,
        until=max(price.until for price in offered),
    )
    known = set(stored)
    fresh = [
        price
        for price in offered
        if (tariff.tariff_id, price.start, price.until, price.per_mwh) not in known
    ]
    rival = None if replace else find_rival(stored, fresh)
    if rival is not None:
        raise ConflictError(
            f"Tariff {rival.tariff_id} already has {rival.price_per_mwh:f} per MWh"
            f" {describe_period(rival.valid_from, rival.valid_to)} at facility"
            f" {tariff.facility_id}.",
            "Send prices of other times, or replace them for that time.",
            "prices",
        )
    return fresh


class _Recorded(Protocol):
    @property
    def valid_from(self) -> datetime: ...
    @property
    def valid_to(self) -> datetime: ...


R = TypeVar("R", bound=_Recorded)


def find_rival(stored: Sequence[R], fresh: Sequence[SeriesPeriod]) -> R | None:
    """The first recorded price, or the like, that a new one overlaps; both in order and apart."""
    starts = [price.start for price in fresh]
    for price in stored:
        # Of the new ones only the last that starts before the recorded one's end can overlap it.
        index = bisect_left(starts, price.valid_to) - 1
        if index >= 0 and fresh[index].until > price.valid_from:
            return price
    return None


async def check_written_off(connection: Connection, asset_id: str) -> None:
    """Refuse terms of hardware that what is left of it cannot be written off by."""
    rows = await cost_inputs.ASSETS.find_open(
        connection, {"asset_id": asset_id}, valid_from=FIRST_MOMENT, valid_to=None
    )
    history = [
        (
            row.valid_from,
            OwnedTerms(
                row.values["purchase_price"],
                row.values["residual_value"],
                row.values["in_service"],
                row.values["life_months"],
                row.values["method"],
                row.values["rate_percent"] or ZERO,
            ),
        )
        for row in rows
        if row.values["terms"] == "owned"
    ]
    if history:
        schedule_of(history)


async def check_prices(connection: Connection, rate_card_id: str) -> None:
    """Refuse a card on which two prices apply alike, or one names an unknown context band."""
    wrong = check_card(await prices.list_open_prices(connection, rate_card_id))
    if wrong:
        raise InvalidInputError(
            f"Rate card {rate_card_id} cannot be used: {'; '.join(wrong)}.",
            "Change the price so that one price applies to each kind of usage.",
            "prices",
        )


async def check_unit(
    connection: Connection, values: Mapping[str, object], valid: DatedInput
) -> None:
    """Refuse a price that is over a thousand times the one before it, or less, and one of a model
    that is a hundred thousand times that of all models: its unit slipped."""
    after = _each_amount(values)
    known = await prices.CARD_PRICES.find_open(
        connection, values, valid_from=valid.valid_from - WINDOW, valid_to=valid.valid_to
    )
    for row in known:
        before = _each_amount(row.values)
        if is_other_unit(before, after):
            raise InvalidInputError(
                f"{values['meter']} of rate card {values['rate_card_id']} would go from"
                f" {plain(before)} to {plain(after)} a unit, over {UNIT_JUMP:,} times.",
                "Look at amount and per; a price that is meant goes on a card of its own.",
                "amount",
            )
    if not known and values["model"] is not None:
        await _check_beside_all_models(connection, values, after, at=valid.valid_from)


async def _check_beside_all_models(
    connection: Connection, values: Mapping[str, object], after: Decimal, *, at: datetime
) -> None:
    card, meter = f"{values['rate_card_id']}", f"{values['meter']}"
    for stored in await prices.list_unit_prices(connection, card, meter=meter, at=at):
        beside = stored.each_amount
        if is_other_unit(beside, after, MODEL_JUMP):
            raise InvalidInputError(
                f"{meter} of {values['model']} on rate card {card} would be {plain(after)} a unit,"
                f" over {MODEL_JUMP:,} times from the {plain(beside)} of all models.",
                "Look at amount and per; a price that is meant goes on a card of its own.",
                "amount",
            )


def _each_amount(values: Mapping[str, Any]) -> Decimal:
    """Of one unit; nothing where that is not all that a price says."""
    price = load_stored_price(values["kind"], values["params"])
    return price.each_amount if isinstance(price, PriceModel) else ZERO


async def check_subscriber(connection: Connection, new: NewSubscription, *, replace: bool) -> None:
    """Refuse a subscription id that is another customer's meanwhile, and, but to `replace` it, one
    beside another that prices some of the same models."""
    overlapping = await prices.SUBSCRIPTIONS.find_open(
        connection,
        {
            "subscription_id": new.subscription_id,
            "customer_id": new.customer_id,
            "models": list(new.models),
        },
        valid_from=new.valid_from,
        valid_to=new.valid_to,
    )
    for row in overlapping:
        if row.values["customer_id"] != new.customer_id:
            raise ConflictError(
                f"Subscription {new.subscription_id} is of customer {row.values['customer_id']}"
                f" {describe_period(row.valid_from, row.valid_to)}.",
                "Use another subscription id.",
                "subscription_id",
            )
        if row.values["subscription_id"] != new.subscription_id and not replace:
            raise ConflictError(
                f"Subscriptions {new.subscription_id} ({_models(new.models)}) and"
                f" {row.values['subscription_id']} ({_models(row.values['models'])}) of customer"
                f" {new.customer_id} overlap: {row.values['subscription_id']} is already recorded"
                f" {describe_period(row.valid_from, row.valid_to)}.",
                "Name other models, choose a time that does not overlap, or replace it for that"
                " time.",
                "models",
            )


def _models(models: Sequence[str]) -> str:
    return ", ".join(models) or "all models"


# Publishers of one day differ by less; who quotes a pair the wrong way round by far more.
SPREAD_MAX = Decimal("0.01")


def check_days(rates: Sequence[FxRate]) -> None:
    """Refuse two rates of one pair and day."""
    seen: set[tuple[Any, ...]] = set()
    for rate in rates:
        key = (rate.base, rate.quote, rate.day)
        if key in seen:
            raise InvalidInputError(
                f"There are two rates of {rate.base}/{rate.quote} on {rate.day}.",
                "Send one rate a pair and day.",
                "rates",
            )
        seen.add(key)


async def find_fresh_rates(
    connection: Connection, rates: Sequence[FxRate], replace: bool
) -> list[FxRate]:
    """The rates not recorded already; ConflictError where other ones are, unless `replace`."""
    stored = await cost_inputs.find_open_fx_rates(connection, **pairs(rates))
    known = {(each.base, each.quote, each.day): (each.rate, each.source) for each in stored}
    fresh = []
    for rate in rates:
        recorded = known.get((rate.base, rate.quote, rate.day))
        if recorded == (rate.rate, rate.source):
            continue
        if recorded is not None and not replace:
            raise ConflictError(
                f"{rate.base}/{rate.quote} of {rate.day} is already recorded as {recorded[0]:f}"
                f" ({recorded[1]}).",
                "Leave it out, or replace it.",
                "rates",
            )
        fresh.append(rate)
    return fresh


async def check_both_ways(connection: Connection, rates: Sequence[FxRate]) -> None:
    """ConflictError where one day's rates of a pair, there and back, do not come back to one.

    What is sent is held against what is sent with it, and else against what is recorded.
    """
    there = pairs(rates)
    back = {**there, "bases": there["quotes"], "quotes": there["bases"]}
    stored = await cost_inputs.find_open_fx_rates(connection, **back)
    known = {(each.base, each.quote, each.day): each.rate for each in stored}
    known |= {(rate.base, rate.quote, rate.day): rate.rate for rate in rates}
    for rate in rates:
        other = known.get((rate.quote, rate.base, rate.day))
        if other is not None and abs(multiply(rate.rate, other) - 1) > SPREAD_MAX:
            raise ConflictError(
                f"{rate.base}/{rate.quote} {rate.rate:f} and {rate.quote}/{rate.base} {other:f} of"
                f" {rate.day} contradict each other.",
                "Leave one out, or send the right one of both and replace.",
                "rates",
            )


def pairs(rates: Sequence[FxRate]) -> dict[str, list[Any]]:
    """The pairs and days of rates, as columns."""
    return {
        "bases": [rate.base for rate in rates],
        "quotes": [rate.quote for rate in rates],
        "days": [rate.day for rate in rates],
    }
