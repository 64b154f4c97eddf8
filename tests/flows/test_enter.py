"""Slow facts by hand: kept with their history, refused where they contradict what is recorded."""

from typing import Any

import asyncpg
import pytest

from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ledger.flows.reference.enter import (
    enter_alias,
    enter_asset,
    enter_deployment,
    enter_fx_rates,
    enter_price,
    enter_pue,
    enter_rate_card,
    enter_subscription,
    enter_tariff,
)
from ledger.flows.reference.parties import enter_customer, enter_entity
from ledger.store.queries import Connection
from ledger.wire.factory_inputs import NewAsset, NewDeployment, NewPue
from ledger.wire.inputs import NewAlias, NewFxRates, NewSubscription, read_input
from ledger.wire.party_inputs import NewCustomer, NewEntity
from ledger.wire.price_inputs import NewPrice, NewRateCard
from ledger.wire.tariff_inputs import NewTariff
from tests.flows.slow_facts import (
    ASSET,
    AUTHOR,
    CARD,
    CUSTOMER,
    ENTITY,
    day,
    enter_parties,
    enter_site,
)


def price(**changes: Any) -> NewPrice:
    base = {"rate_card_id": "list", "meter": "input", "amount": "5", "valid_from": day(0)}
    return read_input(NewPrice, base | changes)


def deployment(**changes: Any) -> NewDeployment:
    base = {
        "deployment_id": "chat",
        "asset_id": "rack",
        "model": "llama",
        "gpu_count": 4,
        "valid_from": day(0),
    }
    return read_input(NewDeployment, base | changes)


async def open_prices(connection: Connection) -> list[tuple[str, str, str]]:
    rows = await connection.fetch(
        """SELECT params->>'amount' AS amount, lower(valid)::date AS since,
                  upper(valid)::date AS until
             FROM rate_card_price WHERE upper_inf(recorded) ORDER BY valid"""
    )
    return [(row["amount"], f"{row['since']}", f"{row['until']}") for row in rows]


@pytest.mark.parametrize("code", ["BTC", "HRK", "XXX"])
async def test_a_currency_that_is_none_today_is_refused_before_anything_is_in_it(
    worker: Connection, code: str
) -> None:
    await enter_parties(worker)
    await enter_site(worker)
    tariff = {"tariff_id": "spot", "facility_id": "site", "name": "Spot"}
    every = [
        enter_entity(worker, read_input(NewEntity, ENTITY | {"currency": code}), AUTHOR),
        enter_rate_card(worker, read_input(NewRateCard, CARD | {"currency": code}), AUTHOR),
        enter_asset(worker, read_input(NewAsset, ASSET | {"currency": code}), AUTHOR),
        enter_tariff(worker, read_input(NewTariff, tariff | {"currency": code}), AUTHOR),
    ]
    for entering in every:
        with pytest.raises(InvalidInputError, match=f"'{code}' is not a currency"):
            await entering


async def test_every_write_keeps_who_why_and_the_request(worker: Connection) -> None:
    await enter_parties(worker)
    rows = await worker.fetch("SELECT * FROM manual_write ORDER BY write_id")
    assert [row["action"] for row in rows] == ["enter entity", "enter customer", "enter rate card"]
    assert {(r["actor"], r["reason"], r["request_id"]) for r in rows} == {
        ("cli:test", "for a test", "req-1")
    }
    assert rows[1]["detail"]["name"] == "Acme"
    assert len({row["batch_seq"] for row in rows}) == 3


async def test_same_again_writes_nothing_and_other_content_is_a_conflict(
    worker: Connection,
) -> None:
    await enter_parties(worker)
    await enter_parties(worker)
    assert await worker.fetchval("SELECT count(*) FROM manual_write") == 3
    with pytest.raises(ConflictError, match="entity factory is already recorded with currency"):
        await enter_entity(worker, read_input(NewEntity, ENTITY | {"currency": "USD"}), AUTHOR)


async def test_what_it_names_must_exist(worker: Connection) -> None:
    with pytest.raises(NotFoundError, match="There is no entity factory"):
        await enter_customer(worker, read_input(NewCustomer, CUSTOMER), AUTHOR)


async def test_overlapping_price_is_refused_naming_the_row_in_the_way(worker: Connection) -> None:
    await enter_parties(worker)
    row_id = await enter_price(worker, price(), AUTHOR)
    with pytest.raises(ConflictError) as refused:
        await enter_price(worker, price(amount="6", valid_from=day(10)), AUTHOR)
    assert f"(row {row_id})" in refused.value.wrong
    assert "from 2024-01-01T00:00Z on, without an end" in refused.value.wrong
    assert "'amount': '5'" in refused.value.wrong
    assert "replace" in refused.value.remedy
    assert await open_prices(worker) == [("5", "2024-01-01", "None")]


async def test_replacing_keeps_the_rest_of_the_old_price_and_its_history(
    worker: Connection,
) -> None:
    await enter_parties(worker)
    await enter_price(worker, price(), AUTHOR)
    middle = price(amount="6", valid_from=day(10), valid_to=day(20))
    await enter_price(worker, middle, AUTHOR, replace=True)
    assert await open_prices(worker) == [
        ("5", "2024-01-01", "2024-01-11"),
        ("6", "2024-01-11", "2024-01-21"),
        ("5", "2024-01-21", "None"),
    ]
    closed = await worker.fetchrow(
        """SELECT upper(recorded) AS until, lower(valid) AS since, upper(valid) AS valid_to
             FROM rate_card_price WHERE NOT upper_inf(recorded)"""
    )
    assert closed is not None
    assert closed["valid_to"] is None
    assert closed["until"] == await worker.fetchval("SELECT max(batch_seq) FROM manual_write")


async def test_price_seen_at_an_earlier_cut_off_stays_what_it_was(worker: Connection) -> None:
    await enter_parties(worker)
    await enter_price(worker, price(), AUTHOR)
    before = await worker.fetchval("SELECT max(batch_seq) FROM manual_write")
    await enter_price(worker, price(amount="6"), AUTHOR, replace=True)
    seen = await worker.fetch(
        "SELECT params->>'amount' FROM rate_card_price WHERE recorded @> $1::bigint", before
    )
    assert [row[0] for row in seen] == ["5"]


async def test_card_with_rival_prices_is_refused_whole(worker: Connection) -> None:
    await enter_parties(worker)
    terms = {"meter": "input", "amount": "5", "valid_from": day(0)}
    rivals = [terms, terms | {"amount": "6", "valid_from": day(3)}]
    with pytest.raises(ConflictError, match="is already recorded"):
        await enter_rate_card(
            worker,
            read_input(NewRateCard, CARD | {"rate_card_id": "two", "prices": rivals}),
            AUTHOR,
        )
    assert not await worker.fetchval("SELECT count(*) FROM rate_card WHERE rate_card_id = 'two'")


async def test_price_of_an_unknown_context_band_is_refused(worker: Connection) -> None:
    await enter_parties(worker)
    with pytest.raises(InvalidInputError, match="band_from 1000 is not one of"):
        await enter_price(worker, price(band_from=1000), AUTHOR)
    assert await open_prices(worker) == []


async def test_subscription_needs_a_card_of_the_customers_entity(worker: Connection) -> None:
    await enter_parties(worker)
    other = ENTITY | {"entity_id": "other", "invoice_prefix": "O"}
    await enter_entity(worker, read_input(NewEntity, other), AUTHOR)
    card = CARD | {"rate_card_id": "theirs", "entity_id": "other"}
    await enter_rate_card(worker, read_input(NewRateCard, card), AUTHOR)
    new = {"subscription_id": "s", "customer_id": "acme", "valid_from": day(0)}
    with pytest.raises(InvalidInputError, match="is of entity other"):
        await enter_subscription(
            worker, read_input(NewSubscription, new | {"rate_card_id": "theirs"}), AUTHOR
        )
    await enter_subscription(
        worker, read_input(NewSubscription, new | {"rate_card_id": "list"}), AUTHOR
    )
    assert await worker.fetchval("SELECT zone FROM subscription") == "Europe/Berlin"


async def test_customer_moves_to_another_card_by_replacing(worker: Connection) -> None:
    await enter_parties(worker)
    new = {"customer_id": "acme", "rate_card_id": "list"}
    first = new | {"subscription_id": "s1", "valid_from": day(0)}
    second = new | {"subscription_id": "s2", "valid_from": day(31)}
    await enter_subscription(worker, read_input(NewSubscription, first), AUTHOR)
    with pytest.raises(ConflictError, match="already recorded"):
        await enter_subscription(worker, read_input(NewSubscription, second), AUTHOR)
    await enter_subscription(worker, read_input(NewSubscription, second), AUTHOR, replace=True)
    rows = await worker.fetch(
        """SELECT subscription_id, upper_inf(valid) AS open FROM subscription
            WHERE upper_inf(recorded) ORDER BY valid"""
    )
    assert [tuple(row) for row in rows] == [("s1", False), ("s2", True)]


async def test_subscription_id_of_another_customer_is_refused(worker: Connection) -> None:
    await enter_parties(worker)
    await enter_customer(
        worker, read_input(NewCustomer, CUSTOMER | {"customer_id": "beta"}), AUTHOR
    )
    new = {"subscription_id": "s", "rate_card_id": "list", "valid_from": day(0)}
    await enter_subscription(
        worker, read_input(NewSubscription, new | {"customer_id": "acme"}), AUTHOR
    )
    with pytest.raises(ConflictError, match="is of customer acme"):
        await enter_subscription(
            worker,
            read_input(NewSubscription, new | {"customer_id": "beta"}),
            AUTHOR,
            replace=True,
        )


async def test_gpu_serves_one_deployment_at_a_time(worker: Connection) -> None:
    await enter_site(worker)
    named = {"gpu_count": None, "gpu_uuids": ["GPU-1", "GPU-2"]}
    await enter_deployment(worker, deployment(**named), AUTHOR)
    with pytest.raises(ConflictError, match="The GPU GPU-2 serves deployment chat"):
        await enter_deployment(
            worker,
            deployment(deployment_id="other", gpu_count=None, gpu_uuids=["GPU-2"]),
            AUTHOR,
        )


async def test_replaced_deployment_keeps_its_members_for_the_rest(worker: Connection) -> None:
    await enter_site(worker)
    await enter_deployment(worker, deployment(engine_instances=["vllm-0"]), AUTHOR)
    later = deployment(engine_instances=["vllm-1"], valid_from=day(5))
    await enter_deployment(worker, later, AUTHOR, replace=True)
    rows = await worker.fetch(
        """SELECT member, lower(valid)::date - '2024-01-01', upper_inf(valid)
             FROM deployment_member WHERE upper_inf(recorded) ORDER BY valid"""
    )
    assert [tuple(row) for row in rows] == [("vllm-0", 0, False), ("vllm-1", 5, True)]
    assert await worker.fetchval("SELECT weight_output FROM deployment LIMIT 1") == 5


async def test_weights_slots_and_power_at_rest_outlive_a_replacement(worker: Connection) -> None:
    await enter_site(worker)
    weights = {"version": 3, "output": 359_600, "context": 20_000, "step": 27_430_000}
    of_engine = {"vllm-0": ["GPU-0"]}
    engines: dict[str, Any] = {
        "gpu_uuids": ["GPU-0", "GPU-1"],
        "gpu_count": 2,
        "engine_instances": ["vllm-0"],
    }
    said = deployment(
        weights=weights,
        idle_mw_per_gpu=110_000,
        slot_s=5,
        instance_gpus=of_engine,
        **engines,
        prefill_chunk=2_048,
    )
    await enter_deployment(worker, said, AUTHOR)
    await enter_deployment(worker, deployment(valid_from=day(5)), AUTHOR, replace=True)
    rows = await worker.fetch(
        """SELECT weight_version, weight_output, weight_context, weight_step, idle_mw_per_gpu,
                  slot_s, prefill_chunk, instance_gpus
             FROM deployment WHERE upper_inf(recorded) ORDER BY valid"""
    )
    assert [tuple(row) for row in rows] == [
        (3, 359_600, 20_000, 27_430_000, 110_000, 5, 2_048, of_engine),
        (1, 5, 0, 0, None, 15, None, {}),
    ]


async def test_no_more_gpus_are_deployed_than_the_asset_has(worker: Connection) -> None:
    await enter_site(worker)
    await enter_deployment(worker, deployment(gpu_count=6), AUTHOR)
    second = deployment(deployment_id="more", gpu_count=3, valid_from=day(2))
    with pytest.raises(ConflictError, match=r"has 8 GPUs at 2024-01-03T00:00Z, but 9"):
        await enter_deployment(worker, second, AUTHOR)
    smaller = read_input(NewAsset, ASSET | {"gpu_count": 4, "valid_from": day(9)})
    with pytest.raises(ConflictError, match="has 4 GPUs at"):
        await enter_asset(worker, smaller, AUTHOR, replace=True)


async def test_deployment_cannot_outlive_its_asset(worker: Connection) -> None:
    await enter_site(worker)
    ended = read_input(NewAsset, ASSET | {"asset_id": "short", "valid_to": day(30)})
    await enter_asset(worker, ended, AUTHOR)
    with pytest.raises(ConflictError, match="has 0 GPUs at 2024-01-31T00:00Z"):
        await enter_deployment(worker, deployment(asset_id="short"), AUTHOR)
    with pytest.raises(NotFoundError, match="There is no asset none"):
        await enter_deployment(worker, deployment(asset_id="none"), AUTHOR)


async def test_alias_and_pue_are_dated(worker: Connection) -> None:
    await enter_site(worker)
    alias = {"alias": "crm-7", "customer_id": "acme", "valid_from": day(0), "valid_to": day(9)}
    await enter_alias(worker, read_input(NewAlias, alias), AUTHOR)
    await enter_alias(
        worker, read_input(NewAlias, alias | {"valid_from": day(9), "valid_to": None}), AUTHOR
    )
    pue = {"facility_id": "site", "pue": "1.25", "valid_from": day(0)}
    await enter_pue(worker, read_input(NewPue, pue), AUTHOR)
    await enter_pue(worker, read_input(NewPue, pue | {"pue": "1.3"}), AUTHOR, replace=True)
    rows = await worker.fetch("SELECT pue::text FROM facility_pue WHERE upper_inf(recorded)")
    assert [row[0] for row in rows] == ["1.3"]


@pytest.mark.parametrize("together", [True, False])
async def test_rates_that_do_not_come_back_to_one_are_refused(
    worker: Connection, together: bool
) -> None:
    def rates(**by_pair: str) -> NewFxRates:
        rows = [
            {"base": pair[:3], "quote": pair[3:], "day": "2024-03-01", "rate": rate, "source": "x"}
            for pair, rate in by_pair.items()
        ]
        return read_input(NewFxRates, {"rates": rows})

    if not together:
        await enter_fx_rates(worker, rates(EURUSD="1.15"), AUTHOR)
    offered = rates(EURUSD="1.15", USDEUR="0.8") if together else rates(USDEUR="0.8")
    for replace in (False, True):
        with pytest.raises(ConflictError, match=r"USD/EUR 0\.8 (and|of)"):
            await enter_fx_rates(worker, offered, AUTHOR, replace=replace)
    assert await enter_fx_rates(worker, rates(USDEUR="0.8696"), AUTHOR) == 1
    both = rates(EURUSD="1.25", USDEUR="0.8")
    await enter_fx_rates(worker, both, AUTHOR, replace=True)


async def test_fx_rates_count_what_is_new_and_refuse_other_figures(worker: Connection) -> None:
    rate = {"base": "EUR", "quote": "USD", "day": "2024-03-01", "rate": "1.0826", "source": "ECB"}
    more = {**rate, "day": "2024-03-04", "rate": "1.0846"}
    assert await enter_fx_rates(worker, read_input(NewFxRates, {"rates": [rate]}), AUTHOR) == 1
    assert (
        await enter_fx_rates(worker, read_input(NewFxRates, {"rates": [rate, more]}), AUTHOR) == 1
    )
    other = read_input(NewFxRates, {"rates": [{**rate, "rate": "1.09"}]})
    with pytest.raises(ConflictError, match=r"already recorded as 1\.0826"):
        await enter_fx_rates(worker, other, AUTHOR)
    assert await enter_fx_rates(worker, other, AUTHOR, replace=True) == 1
    rows = await worker.fetch("SELECT rate FROM fx_rate WHERE upper_inf(recorded) ORDER BY day")
    assert [f"{row['rate']:f}" for row in rows] == ["1.09", "1.0846"]


async def test_nothing_but_closing_may_change_a_dated_row(worker: Connection) -> None:
    await enter_parties(worker)
    await enter_price(worker, price(), AUTHOR)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await worker.execute("UPDATE rate_card_price SET kind = 'other'")
