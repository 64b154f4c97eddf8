"""`tokenledger price explain`: which price of a card applies to a usage, and why no other does."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_json, print_table, say
from ledger.commands.groups import group
from ledger.commands.run.periods import read_moment
from ledger.commands.serve.database import Database, database_options
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import plain
from ledger.domain.period import midnight
from ledger.domain.pricing.discounts import ORDER
from ledger.domain.pricing.explain import RULE, PriceVerdict, explain_price
from ledger.domain.pricing.models import StoredPrice
from ledger.domain.pricing.outcome import OUTCOMES, outcome_bits
from ledger.domain.pricing.price_model import PriceModel
from ledger.domain.pricing.rate_card import METERS, USAGE_METERS, RateCard, UsageKey, context_band
from ledger.flows.pricing.price_book import find_card, find_cost, find_pricing
from ledger.store.pricing.prices import ModelCost, PricingSubscription
from ledger.store.queries import Connection
from ledger.wire.input_fields import METER_OF

# Meters of usage, and what is asked for its cost.
EXPLAINED = (*USAGE_METERS, "cost")


@group()
def price() -> None:
    """Prices of rate cards, and which of them applies."""


@price.command()
@click.argument("named", metavar="[CARD] METER", nargs=-1)
@click.option("--customer", help="Whose usage: its subscription says by which card.")
@click.option("--model", default="", help="The model that served.")
@click.option("--tier", default="standard", show_default=True, help="The tier that was served.")
@click.option("--adapter", default="", help="The adapter.")
@click.option("--region", default="", help="The region.")
@click.option("--project", default="", help="The project.")
@click.option("--agent", default="", help="The agent.")
@click.option(
    "--outcome",
    "outcomes",
    multiple=True,
    type=click.Choice(OUTCOMES),
    help="What the attempt was beside well done; may be given again.",
)
@click.option("--context", "tokens", type=click.IntRange(0), default=0, help="Tokens of context.")
@click.option("--at", help="When it was used; by default now.")
@json_option
@database_options
def explain(
    database: Database,
    named: tuple[str, ...],
    *,
    customer: str | None,
    model: str,
    tier: str,
    adapter: str,
    region: str,
    project: str,
    agent: str,
    outcomes: tuple[str, ...],
    tokens: int,
    at: str | None,
    as_json: bool,
) -> None:
    """Say which price of CARD applies to a usage of METER, and why each other one does not.

    The most specific one applies, by the rule that is printed with it. Of a --customer, the
    subscription that prices the model says which card.
    """
    card, meter = _named(named, customer)
    outcome = outcome_bits(outcomes)
    key = UsageKey(model, tier, adapter, region, context_band(tokens), project, agent, outcome)
    asked = AskedPrice(meter, customer, card, key, _moment(at) if at else clock.now())
    explained = database.run(partial(_look_up, asked=asked))
    if as_json:
        print_json(_to_json(explained))
    else:
        _show(explained)


@dataclass(frozen=True, slots=True)
class AskedPrice:
    """A usage of a meter at a moment: of a customer, or by the card that is named."""

    meter: str
    customer: str | None
    named_card: str
    key: UsageKey
    at: datetime


@dataclass(frozen=True, slots=True)
class Explained:
    """Why each price of a card applies or not; of a customer its subscriptions, and what its usage
    cost where that is priced."""

    asked: AskedPrice
    card: RateCard
    verdicts: Sequence[PriceVerdict]
    pricing: Sequence[PricingSubscription]
    costs: Sequence[ModelCost]


def _named(named: Sequence[str], customer: str | None) -> tuple[str, str]:
    """The card, empty where the customer says which, and the meter; refuses what is none."""
    if len(named) != (1 if customer else 2):
        raise click.UsageError("Name a card and a meter, or --customer and a meter.")
    card, meter = ("", *named)[-2:]
    if METER_OF.get(meter) not in EXPLAINED:
        known = ", ".join(name for name in METER_OF if METER_OF[name] in EXPLAINED)
        raise InvalidInputError(f"{meter!r} is no meter of usage.", f"Use one of {known}.", "meter")
    return card, meter


async def _look_up(connection: Connection, asked: AskedPrice) -> Explained:
    pricing: Sequence[PricingSubscription] = ()
    costs: Sequence[ModelCost] = ()
    card_id, model, at = asked.named_card, asked.key.model, asked.at
    if asked.customer:
        pricing = await find_pricing(connection, customer_id=asked.customer, model=model, at=at)
        card_id = next(each.rate_card_id for each in pricing if each.applies)
        if asked.meter == "cost":
            costs = await find_cost(connection, customer_id=asked.customer, model=model, at=at)
    card = await find_card(connection, card_id, "price explain")
    verdicts = explain_price(card, METER_OF[asked.meter], asked.key, asked.at)
    return Explained(asked, card, verdicts, pricing, costs)


def _to_json(explained: Explained) -> dict[str, object]:
    return {
        "rate_card_id": explained.card.rate_card_id,
        "currency": explained.card.currency,
        "rule": RULE,
        "order": ORDER,
        "prices": [_row(verdict) for verdict in explained.verdicts],
        "subscriptions": [asdict(each) for each in explained.pricing],
        "costs": [asdict(each) for each in explained.costs],
    }


def _show(explained: Explained) -> None:
    meter, customer, model = (
        explained.asked.meter,
        explained.asked.customer,
        explained.asked.key.model,
    )
    for each in explained.pricing:
        say(_said(each))
    title = f"{meter} of {model or 'no model'} on {explained.card.rate_card_id}"
    _print_prices(title, [_row(verdict) for verdict in explained.verdicts])
    for cost in explained.costs:
        amount = f"{plain(cost.amount)} {cost.currency}"
        say(f"Usage of {model} by {customer} was allocated {amount} on that day so far.")
    say(RULE)
    say(ORDER)
    if not any(verdict.applies for verdict in explained.verdicts):
        waits = "such usage waits, listed, until there is one"
        then = waits if METER_OF[meter] in METERS else "nothing is asked for it"
        say(f"No price applies: {then}.")


def _print_prices(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    names = ("price_id", "applies", "why", "meter", "model", "tier", "kind", "valid_from")
    cells = [
        tuple(
            "yes" if v is True else "" if v is False else v for v in (row[name] for name in names)
        )
        for row in rows
    ]
    print_table(title, names, cells)


def _said(pricing: PricingSubscription) -> str:
    models = ", ".join(pricing.models) or "all models"
    prices = "prices it" if pricing.applies else "does not price it"
    whose = f"of {pricing.payer_id}, for {models}"
    return f"Subscription {pricing.subscription_id} {whose}, {prices} by {pricing.rate_card_id}."


def _moment(text: str) -> datetime:
    """A time, or the beginning of a day, of UTC where it has no offset."""
    moment = read_moment(text, "UTC")
    return moment if isinstance(moment, datetime) else midnight(moment, "UTC")


def _terms(price: StoredPrice) -> dict[str, object]:
    if isinstance(price, PriceModel):
        return price.params
    return {"unreadable": price.reason}


def _row(verdict: PriceVerdict) -> dict[str, object]:
    listed = verdict.price
    return {
        "price_id": listed.price_id,
        "applies": verdict.applies,
        "why": verdict.why,
        "meter": listed.meter,
        "project_id": listed.project_id,
        "agent_id": listed.agent_id,
        "model": listed.model,
        "tier": listed.tier,
        "adapter": listed.adapter,
        "region": listed.region,
        "band_from": listed.band_from,
        "hours": listed.hours.text if listed.hours else None,
        "kind": getattr(listed.price, "kind", "unreadable"),
        "terms": _terms(listed.price),
        "valid_from": listed.valid_from,
        "valid_to": listed.valid_to,
    }
