"""Slow facts entered by hand into rows: each call one transaction, kept with who did it and why.

Entering exactly what is recorded already writes nothing. A dated row that overlaps another is
refused, or with `replace` supersedes it for the time they share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol, TypeAlias

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ledger.domain.money import check_currency
from ledger.domain.pricing.hours import read_hours
from ledger.domain.pricing.models import load_price
from ledger.flows.reference.enter_checks import (
    check_apart,
    check_both_ways,
    check_days,
    check_prices,
    check_subscriber,
    check_unit,
    check_written_off,
    find_fresh_prices,
    find_fresh_rates,
    pairs,
)
from ledger.flows.reference.gpu_checks import check_capacity, check_members, wanted_of
from ledger.flows.reference.supersede import describe_period, keep_write, write_dated, writing
from ledger.flows.reference.time_of_use import spelled_out
from ledger.store import parties
from ledger.store.connect import draw_batch_seq
from ledger.store.cost import cost_inputs
from ledger.store.dated import DatedTable
from ledger.store.pricing import prices
from ledger.store.queries import Connection
from ledger.wire.factory_inputs import NewAsset, NewDeployment, NewEnergyMeter, NewFacility, NewPue
from ledger.wire.inputs import DatedInput, NewAlias, NewFxRates, NewSubscription
from ledger.wire.price_inputs import MATCH, PRICE_FIELDS, NewPrice, NewRateCard, PriceTerms
from ledger.wire.tariff_inputs import NewTariff, NewTariffPrices, TariffPeriod

_DATES = frozenset({"valid_from", "valid_to"})
Known: TypeAlias = cost_inputs.Facility | cost_inputs.Tariff | prices.RateCardTerms


async def enter_alias(
    connection: Connection, new: NewAlias, author: Author, *, replace: bool = False
) -> int:
    """Record a dated name of a customer; returns its row."""
    async with writing(connection):
        return await enter_dated(connection, parties.ALIASES, new, author, replace)


async def enter_facility(connection: Connection, new: NewFacility, author: Author) -> str:
    """Record a site; returns its id."""
    values = new.model_dump()
    async with writing(connection):
        known = await cost_inputs.find_facility(connection, new.facility_id)
        named = _Named("facility", new.facility_id, values, cost_inputs.insert_facility)
        await _enter_once(connection, named, known, author)
    return new.facility_id


async def enter_pue(
    connection: Connection, new: NewPue, author: Author, *, replace: bool = False
) -> int:
    """Record what a site adds to a GPU; returns its row."""
    async with writing(connection):
        return await enter_dated(connection, cost_inputs.PUES, new, author, replace)


async def enter_energy_meter(
    connection: Connection, new: NewEnergyMeter, author: Author, *, replace: bool = False
) -> int:
    """Record what a meter measures, and its calibration; returns its row."""
    async with writing(connection):
        return await enter_dated(connection, cost_inputs.ENERGY_METERS, new, author, replace)


async def enter_asset(
    connection: Connection, new: NewAsset, author: Author, *, replace: bool = False
) -> str:
    """Record hardware and what it costs; returns its id.

    Refused where deployments would be left without GPUs, or what is left without time.
    """
    check_currency(new.currency)
    async with writing(connection):
        await enter_dated(connection, cost_inputs.ASSETS, new, author, replace)
        await check_written_off(connection, new.asset_id)
        await check_capacity(connection, new.asset_id, new)
    return new.asset_id


async def enter_tariff(connection: Connection, new: NewTariff, author: Author) -> str:
    """Record a contract for electricity; returns its id."""
    check_currency(new.currency)
    values = new.model_dump()
    async with writing(connection):
        known = await cost_inputs.find_tariff(connection, new.tariff_id)
        named = _Named("tariff", new.tariff_id, values, cost_inputs.insert_tariff)
        await _enter_once(connection, named, known, author)
    return new.tariff_id


async def enter_tariff_prices(
    connection: Connection, new: NewTariffPrices, author: Author, *, replace: bool = False
) -> int:
    """Record prices of a tariff; returns how many were not recorded already."""
    async with writing(connection):
        tariff = await cost_inputs.find_tariff(connection, new.tariff_id)
        if tariff is None:
            raise NotFoundError(f"There is no tariff {new.tariff_id}.", "Enter the tariff first.")
        facility = await cost_inputs.find_facility(connection, tariff.facility_id)
        assert facility is not None
        offered = sorted(spelled_out(new, facility.zone), key=lambda price: price.start)
        check_apart(offered)
        fresh = await find_fresh_prices(connection, tariff, offered, replace)
        if fresh:
            await _write_tariff_prices(connection, tariff, fresh, author)
    return len(fresh)


async def enter_deployment(
    connection: Connection, new: NewDeployment, author: Author, *, replace: bool = False
) -> str:
    """Record which GPUs serve what; returns its id.

    Refused where an engine instance serves another deployment, a GPU has less left, or the asset
    too few.
    """
    async with writing(connection):
        assets = await cost_inputs.ASSETS.find_open(
            connection,
            {"asset_id": new.asset_id},
            valid_from=new.valid_from,
            valid_to=new.valid_to,
        )
        if not assets:
            period = describe_period(new.valid_from, new.valid_to)
            raise NotFoundError(f"There is no asset {new.asset_id} {period}.", "Enter it first.")
        wanted = wanted_of(new, assets)
        await check_members(connection, new, wanted)
        values = _deployment_values(new, assets[0].values["entity_id"], wanted.parts)
        written = await write_dated(
            connection, cost_inputs.DEPLOYMENTS, values, valid=new, replace=replace
        )
        if written.batch_seq is not None:
            seq = written.batch_seq
            await cost_inputs.close_members(connection, written.closed, batch_seq=seq)
            await cost_inputs.insert_members(connection, [*written.remaining, written.row_id])
            await _keep(connection, author, seq, "deployment", new.deployment_id, new.model_dump())
            await check_capacity(connection, new.asset_id, new)
    return new.deployment_id


async def enter_rate_card(connection: Connection, new: NewRateCard, author: Author) -> str:
    """Record a rate card with the prices it comes with, and those of the card that it is like;
    returns its id. What that card costs later changes nothing here."""
    check_currency(new.currency)
    values = new.model_dump(exclude={"prices", "like"})
    async with writing(connection):
        known = await prices.find_rate_card(connection, new.rate_card_id)
        named = _Named("rate card", new.rate_card_id, values, prices.insert_rate_card)
        await _enter_once(connection, named, known, author)
        for terms in new.prices:
            await _enter_price_terms(connection, new.rate_card_id, terms, author, replace=False)
        if new.like is not None and known is None:
            await _copy_prices(connection, new, new.like, author)
        await check_prices(connection, new.rate_card_id)
    return new.rate_card_id


async def _copy_prices(connection: Connection, new: NewRateCard, like: str, author: Author) -> None:
    card = await prices.find_rate_card(connection, like)
    if card is None or card.entity_id != new.entity_id:
        raise NotFoundError(
            f"Entity {new.entity_id} has no rate card {like}.", "Enter it first.", "like"
        )
    if card.currency != new.currency:
        raise InvalidInputError(
            f"Rate card {like} is in {card.currency}, and this one in {new.currency}.",
            "Send a card of the same currency.",
            "like",
        )
    for terms in new.prices:
        for each in terms.spelled_out():
            await check_unit(connection, _price_values(like, each), each)
    batch_seq = await draw_batch_seq(connection)
    await prices.copy_prices(connection, new.rate_card_id, like=like, batch_seq=batch_seq)
    detail = {"rate_card_id": new.rate_card_id, "like": like}
    await _keep(connection, author, batch_seq, "price", f"{new.rate_card_id} / {like}", detail)


async def enter_price(
    connection: Connection, new: NewPrice, author: Author, *, replace: bool = False
) -> int:
    """Record a price on a card; returns its row. One that leaves the card ambiguous is refused."""
    async with writing(connection):
        row_id = await _enter_price_terms(
            connection, new.rate_card_id, new, author, replace=replace
        )
        await check_prices(connection, new.rate_card_id)
    return row_id


async def enter_subscription(
    connection: Connection, new: NewSubscription, author: Author, *, replace: bool = False
) -> str:
    """Put a customer on a rate card of its entity; returns the subscription's id."""
    async with writing(connection):
        customer = await parties.find_customer(connection, new.customer_id)
        card = await prices.find_rate_card(connection, new.rate_card_id)
        if customer is None:
            raise NotFoundError(f"There is no customer {new.customer_id}.", "Enter it first.")
        if card is None:
            raise NotFoundError(f"There is no rate card {new.rate_card_id}.", "Enter it first.")
        if customer.entity_id != card.entity_id:
            raise InvalidInputError(
                f"Customer {new.customer_id} is billed by entity {customer.entity_id}, but rate"
                f" card {new.rate_card_id} is of entity {card.entity_id}.",
                "Use a rate card of the customer's entity.",
                "rate_card_id",
            )
        entity = await parties.find_entity(connection, customer.entity_id)
        assert entity is not None
        values = _undated(new) | {"zone": new.zone or entity.zone}
        await check_subscriber(connection, new, replace=replace)
        written = await write_dated(
            connection, prices.SUBSCRIPTIONS, values, valid=new, replace=replace
        )
        if written.batch_seq is not None:
            subject, seq = new.subscription_id, written.batch_seq
            await _keep(connection, author, seq, "subscription", subject, new.model_dump())
    return new.subscription_id


async def enter_fx_rates(
    connection: Connection, new: NewFxRates, author: Author, *, replace: bool = False
) -> int:
    """Record exchange rates; returns how many were not recorded already."""
    check_days(new.rates)
    async with writing(connection):
        await check_both_ways(connection, new.rates)
        fresh = await find_fresh_rates(connection, new.rates, replace)
        if fresh:
            batch_seq = await draw_batch_seq(connection)
            await cost_inputs.close_fx_rates(connection, **pairs(fresh), batch_seq=batch_seq)
            rows = [(r.base, r.quote, r.day, r.rate, r.source) for r in fresh]
            await cost_inputs.copy_fx_rates(connection, rows, batch_seq=batch_seq)
            days = [rate.day for rate in fresh]
            detail = {"rates": len(fresh), "first_day": min(days), "last_day": max(days)}
            await _keep(connection, author, batch_seq, "FX rates", fresh[0].source, detail)
    return len(fresh)


async def _keep(
    connection: Connection,
    author: Author,
    batch_seq: int,
    noun: str,
    subject: str,
    detail: Mapping[str, object],
) -> None:
    await keep_write(
        connection,
        author,
        batch_seq=batch_seq,
        action=f"enter {noun}",
        subject=subject,
        detail=detail,
    )


async def enter_dated(
    connection: Connection, table: DatedTable, new: DatedInput, author: Author, replace: bool
) -> int:
    """Record a row of a dated table as it was sent, and who did it; returns the row."""
    written = await write_dated(connection, table, _undated(new), valid=new, replace=replace)
    if written.batch_seq is not None:
        values = new.model_dump()
        subject = " / ".join(str(values[key]) for key in table.keys)
        await _keep(connection, author, written.batch_seq, table.noun, subject, values)
    return written.row_id


def _undated(new: DatedInput) -> dict[str, object]:
    said = new.model_dump(exclude=set(_DATES))
    # As the store gives lists back, which are compared with these.
    return {name: list(v) if isinstance(v, tuple) else v for name, v in said.items()}


class _Insert(Protocol):
    async def __call__(
        self, connection: Connection, values: Mapping[str, object], *, batch_seq: int
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class _Named:
    """What is recorded once under an id and stays as it is."""

    noun: str
    name: str
    values: Mapping[str, object]
    insert: _Insert


async def _enter_once(
    connection: Connection, new: _Named, known: Known | None, author: Author
) -> None:
    """Record it unless exactly this is; ConflictError where the id has other content."""
    if known is None:
        batch_seq = await draw_batch_seq(connection)
        await new.insert(connection, new.values, batch_seq=batch_seq)
        await _keep(connection, author, batch_seq, new.noun, new.name, new.values)
        return
    recorded = asdict(known)
    other = [field for field in new.values if recorded[field] != new.values[field]]
    if other:
        said = ", ".join(f"{field} {recorded[field]!r}" for field in other)
        raise ConflictError(
            f"The {new.noun} {new.name} is already recorded with {said}.",
            f"Use another id: what is recorded of a {new.noun} stays.",
            other[0],
        )


async def _write_tariff_prices(
    connection: Connection,
    tariff: cost_inputs.Tariff,
    fresh: Sequence[TariffPeriod],
    author: Author,
) -> None:
    batch_seq = await draw_batch_seq(connection)
    facility_id = tariff.facility_id
    starts, ends = [p.start for p in fresh], [p.until for p in fresh]
    await cost_inputs.supersede_tariff_prices(
        connection, facility_id, starts=starts, ends=ends, batch_seq=batch_seq
    )
    rows: list[tuple[datetime, datetime, Decimal]] = [(p.start, p.until, p.per_mwh) for p in fresh]
    await cost_inputs.copy_tariff_prices(
        connection,
        rows,
        tariff_id=tariff.tariff_id,
        facility_id=facility_id,
        batch_seq=batch_seq,
    )
    detail = {
        **{"tariff_id": tariff.tariff_id, "facility_id": facility_id},
        **{"prices": len(fresh), "from": starts[0], "to": ends[-1]},
    }
    await _keep(connection, author, batch_seq, "tariff prices", tariff.tariff_id, detail)


def _deployment_values(new: NewDeployment, entity_id: str, gpu_parts: int) -> dict[str, object]:
    return {
        "deployment_id": new.deployment_id,
        "entity_id": entity_id,
        "asset_id": new.asset_id,
        "model": new.model,
        "tier": new.tier,
        "gpu_count": new.gpus,
        "gpu_uuids": list(new.gpu_uuids),
        "engine_instances": list(new.engine_instances),
        "idle_mw_per_gpu": new.idle_mw_per_gpu,
        "slot_s": new.slot_s,
        "prefill_chunk": new.prefill_chunk,
        "instance_gpus": {name: list(gpus) for name, gpus in new.instance_gpus.items()},
        "gpu_parts": gpu_parts,
        "mig_slices": list(new.mig_slices),
        "gpu_split": new.gpu_split,
        **{f"weight_{name}": weight for name, weight in new.weights.model_dump().items()},
    }


async def _enter_price_terms(
    connection: Connection, rate_card_id: str, terms: PriceTerms, author: Author, *, replace: bool
) -> int:
    row_id = 0
    for each in terms.spelled_out():
        values = _price_values(rate_card_id, each)
        await check_unit(connection, values, each)
        written = await write_dated(
            connection, prices.CARD_PRICES, values, valid=each, replace=replace
        )
        if written.batch_seq is not None:
            subject = f"{rate_card_id} / {each.meter}"
            detail = {"rate_card_id": rate_card_id, **each.model_dump()}
            await _keep(connection, author, written.batch_seq, "price", subject, detail)
        row_id = written.row_id
    return row_id


def _price_values(rate_card_id: str, terms: PriceTerms) -> dict[str, object]:
    said = terms.model_dump(mode="json", include=set(PRICE_FIELDS[terms.kind]), exclude_none=True)
    price = load_price(terms.kind, said)
    if terms.hours is not None:
        read_hours(terms.hours)
    return {
        "rate_card_id": rate_card_id,
        **terms.model_dump(include={"meter", *MATCH}),
        # A rule of who pays is told apart by what it is of.
        "name": terms.name or terms.outcome or "",
        "kind": terms.kind,
        "params": price.params,
    }
