"""Everything that is entered, one line a kind: API, command line and files learn of it here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.domain.errors import InvalidInputError
from ledger.flows.reference import (
    ending,
    enter,
    enter_budget,
    enter_parent,
    enter_webhook,
    parties,
)
from ledger.flows.reference.credit_resources import AGENTS, CREDIT
from ledger.flows.reference.price_holes import find_price_holes
from ledger.flows.reference.receivable_resources import RECEIVABLE
from ledger.flows.reference.resource import Change, Ending, Enter, Resource
from ledger.flows.reference.sharing_resources import SHARING
from ledger.flows.reference.site_resources import SITES
from ledger.store import parties as parties_store
from ledger.store.billing.budgets import BUDGET_ROWS
from ledger.store.cost import cost_inputs
from ledger.store.pricing import prices
from ledger.store.queries import Reader
from ledger.store.resources import ListedRow, list_resource, parameters_of
from ledger.wire import (
    answers,
    budget_answers,
    budget_inputs,
    changes,
    factory_inputs,
    inputs,
    key_answers,
    party_inputs,
    price_inputs,
    tariff_inputs,
    webhook_answers,
    webhook_inputs,
)
from ledger.wire.inputs import InputModel

# How many validities of one thing are shown at once.
VERSIONS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which rows of a list: of an entity, of one id, as they hold at a moment, after a place."""

    limit: int
    key: str | None = None
    entity_id: str | None = None
    at: datetime | None = None
    after: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Validities:
    """What is recorded under an id: what holds now, where that is one thing, and every validity."""

    id: str
    now: Mapping[str, object] | None
    versions: Sequence[Mapping[str, object]]


RESOURCES: Sequence[Resource] = (
    Resource(
        "entity",
        "entities",
        "legal entities",
        "entity_id",
        answers.Entity,
        ("name", "currency", "zone", "address", "tax_number", "payment_days"),
        party_inputs.NewEntity,
        parties.enter_entity,
        seen_by="customers",
        now=True,
        change=Change(changes.EntityChange, parties.change_entity),
    ),
    Resource(
        "customer",
        "customers",
        "customers",
        "customer_id",
        answers.Customer,
        ("entity_id", "name", "kind", "address", "tax_number", "email"),
        party_inputs.NewCustomer,
        parties.enter_customer,
        seen_by="customers",
        now=True,
        change=Change(changes.CustomerChange, parties.change_customer),
    ),
    Resource(
        "alias",
        "aliases",
        "other systems' customer names",
        "alias",
        answers.Alias,
        ("customer_id", "valid_from", "valid_to"),
        inputs.NewAlias,
        enter.enter_alias,
        dated=True,
        ending=Ending(parties_store.ALIASES),
    ),
    Resource(
        "parent",
        "parents",
        "whose children customers are",
        "customer_id",
        answers.Parent,
        ("parent_id", "valid_from", "valid_to"),
        party_inputs.NewParent,
        enter_parent.enter_parent,
        seen_by="customers",
        dated=True,
    ),
    Resource(
        "facility",
        "facilities",
        "sites",
        "facility_id",
        answers.Facility,
        ("entity_id", "name", "zone"),
        factory_inputs.NewFacility,
        enter.enter_facility,
    ),
    Resource(
        "PUE",
        "pues",
        "PUE and host power of sites",
        "facility_id",
        answers.Pue,
        ("pue", "host_mw_per_gpu", "valid_from", "valid_to"),
        factory_inputs.NewPue,
        enter.enter_pue,
        word="pue",
        dated=True,
        ending=Ending(cost_inputs.PUES),
    ),
    Resource(
        "energy meter",
        "energy-meters",
        "what meters measure, and their calibration",
        "meter",
        answers.EnergyMeter,
        ("facility_id", "measures", "gain", "offset_mw", "valid_from", "valid_to"),
        factory_inputs.NewEnergyMeter,
        enter.enter_energy_meter,
        dated=True,
        ending=Ending(cost_inputs.ENERGY_METERS),
    ),
    Resource(
        "asset",
        "assets",
        "GPUs, owned or leased",
        "asset_id",
        answers.Asset,
        ("facility_id", "name", "terms", "gpu_count", "currency", "valid_from", "valid_to"),
        factory_inputs.NewAsset,
        enter.enter_asset,
        dated=True,
        ending=Ending(cost_inputs.ASSETS, after=ending.check_asset),
    ),
    Resource(
        "tariff",
        "tariffs",
        "electricity contracts",
        "tariff_id",
        answers.Tariff,
        ("facility_id", "name", "currency"),
        tariff_inputs.NewTariff,
        enter.enter_tariff,
    ),
    Resource(
        "tariff price",
        "tariff-prices",
        "prices of electricity",
        "tariff_id",
        answers.TariffPrice,
        ("start", "end", "currency", "price_per_mwh"),
        tariff_inputs.NewTariffPrices,
        enter.enter_tariff_prices,
        dated=True,
        parent="tariffs",
        counted=True,
        holes=find_price_holes,
    ),
    *SITES,
    Resource(
        "deployment",
        "deployments",
        "which GPUs serve which model",
        "deployment_id",
        answers.Deployment,
        ("asset_id", "model", "tier", "gpu_count", "valid_from", "valid_to"),
        factory_inputs.NewDeployment,
        enter.enter_deployment,
        dated=True,
        ending=Ending(cost_inputs.DEPLOYMENTS, after=ending.end_members),
    ),
    *SHARING,
    Resource(
        "rate card",
        "rate-cards",
        "rate cards",
        "rate_card_id",
        answers.RateCard,
        ("entity_id", "name", "currency"),
        price_inputs.NewRateCard,
        enter.enter_rate_card,
        seen_by="customers",
    ),
    Resource(
        "price",
        "prices",
        "prices of rate cards",
        "rate_card_id",
        answers.Price,
        ("meter", "model", "tier", "params", "currency", "valid_from", "valid_to"),
        price_inputs.NewPrice,
        enter.enter_price,
        seen_by="customers",
        word="rate-card",
        dated=True,
        parent="rate-cards",
        ending=Ending(prices.CARD_PRICES, prices.CARD_PRICES.keys[1:], after=ending.check_card),
    ),
    Resource(
        "subscription",
        "subscriptions",
        "who is on which rate card",
        "subscription_id",
        answers.Subscription,
        ("customer_id", "rate_card_id", "models", "anchor_day", "valid_from", "valid_to"),
        inputs.NewSubscription,
        enter.enter_subscription,
        seen_by="customers",
        dated=True,
        ending=Ending(prices.SUBSCRIPTIONS),
    ),
    *RECEIVABLE,
    Resource(
        "budget",
        "budgets",
        "what may be used in a period",
        "budget_id",
        budget_answers.Budget,
        ("customer_id", "agent_id", "period", "unit", "amount", "hard", "valid_from", "valid_to"),
        budget_inputs.NewBudget,
        enter_budget.enter_budget,
        seen_by="customers",
        dated=True,
        ending=Ending(BUDGET_ROWS),
    ),
    Resource(
        "budget balance",
        "budget-balances",
        "what of budgets is used and held",
        "budget_id",
        budget_answers.BudgetBalance,
        ("customer_id", "agent_run_id", "period_start", "unit", "used", "held", "ceiling", "left"),
        seen_by="customers",
    ),
    Resource(
        "budget alert",
        "budget-alerts",
        "what budgets had to say",
        "budget_id",
        budget_answers.BudgetAlert,
        ("customer_id", "agent_run_id", "period_start", "kind", "percent", "used", "noticed_at"),
        seen_by="customers",
    ),
    Resource(
        "reservation",
        "reservations",
        "what was held, and how it ended",
        "reservation_id",
        budget_answers.Reservation,
        (
            *("customer_id", "model", "agent_run_id", "extras_max"),
            *("reserved_at", "expires_at", "state"),
        ),
        seen_by="customers",
    ),
    Resource(
        "webhook",
        "webhooks",
        "where systems are told what happened",
        "webhook_id",
        webhook_answers.Webhook,
        ("entity_id", "customer_id", "url", "events", "active", "secret_since"),
        webhook_inputs.NewWebhook,
        enter_webhook.enter_webhook,
    ),
    Resource(
        "notice",
        "notices",
        "what happened, to be told to webhooks",
        "notice_id",
        webhook_answers.Notice,
        ("event", "customer_id", "subject", "noticed_at", "waiting"),
    ),
    Resource(
        "delivery",
        "deliveries",
        "what came of sending notices",
        "notice_id",
        webhook_answers.NoticeDelivery,
        ("webhook_id", "event", "tried_at", "outcome", "status", "detail", "next_at"),
    ),
    *CREDIT,
    *AGENTS,
    Resource(
        "FX rate",
        "fx-rates",
        "exchange rates by day",
        "pair",
        answers.ExchangeRate,
        ("day", "rate", "source"),
        inputs.NewFxRates,
        enter.enter_fx_rates,
        word="fx",
        dated=True,
        counted=True,
    ),
    Resource(
        "key",
        "keys",
        "API keys, without their secrets",
        "key_id",
        key_answers.Key,
        ("role", "name", "entity_id", "customer_id", "sources", "created_at", "revoked_at"),
        seen_by="admins",
    ),
)
BY_WORD: Mapping[str, Resource] = {word: each for each in RESOURCES for word in each.words}


ENDING: Mapping[str, Resource] = {each.path: each for each in RESOURCES if each.ending}


def enter_of(model: type[InputModel]) -> Enter:
    """How what a model says is entered."""
    (entering,) = (each.enter for each in RESOURCES if each.model is model and each.enter)
    return entering


async def list_page(
    connection: Reader, resource: Resource, asked: ListQuery, *, now: datetime
) -> list[ListedRow]:
    """Rows with their places; parties, unless one is named, as they are at a moment or `now`."""
    _check_asked(resource, asked)
    whole = asked.at is None and asked.key is None
    return await list_resource(
        connection,
        resource.query,
        limit=asked.limit,
        key=asked.key,
        entity_id=asked.entity_id,
        at=now if whole and resource.now else asked.at,
        after=asked.after,
    )


async def show_one(
    connection: Reader, resource: Resource, key: str, *, now: datetime
) -> Validities | None:
    """What is recorded under an id: what holds `now`, and every validity; None where nothing is."""
    asked = ListQuery(limit=VERSIONS_MAX, key=key)
    versions = [row.values for row in await list_page(connection, resource, asked, now=now)]
    if not versions:
        return None
    holding = [row for row in versions if _holds(row, now)]
    return Validities(key, holding[0] if len(holding) == 1 else None, versions)


def _check_asked(resource: Resource, asked: ListQuery) -> None:
    takes = parameters_of(resource.query)
    if asked.entity_id is not None and "entity_id" not in takes:
        raise InvalidInputError(f"{resource.path} are of no entity.", "Leave it out.", "entity")
    if asked.at is not None and "at" not in takes:
        raise InvalidInputError(f"{resource.path} are not dated.", "Leave it out.", "at")


def _holds(row: Mapping[str, Any], now: datetime) -> bool:
    since, until = row.get("valid_from"), row.get("valid_to")
    return (since is None or since <= now) and (until is None or now < until)
