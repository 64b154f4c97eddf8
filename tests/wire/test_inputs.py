"""What people enter is read strictly: exact decimals, aware times, no field that nobody knows."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.wire.errors import InputError
from ledger.wire.factory_inputs import NewAsset, NewDeployment, NewPue
from ledger.wire.idle_inputs import NewIdlePolicy
from ledger.wire.inputs import InputModel, NewFxRates, read_input, read_texts
from ledger.wire.party_inputs import NewEntity
from ledger.wire.price_inputs import NewPrice
from ledger.wire.tariff_inputs import NewTariffPrices, TariffPeriod

DOCS = Path(__file__).parents[2] / "docs"
PRICE = {"rate_card_id": "c", "meter": "input", "amount": "5", "valid_from": "2024-01-01T00:00:00Z"}
PERIOD = {"start": "2024-01-01T00:00:00Z", "resolution_minutes": 15, "price_per_mwh": "1"}
ENTITY = {"entity_id": "a", "name": "A", "currency": "EUR", "zone": "Europe/Berlin"}
DEPLOYMENT = {
    **{"deployment_id": "d", "asset_id": "a", "model": "m", "valid_from": "2024-01-01T00:00:00Z"},
    "gpu_count": 2,
}
PAIR = DEPLOYMENT | {
    **{"gpu_uuids": ["x", "y"], "engine_instances": ["a", "b"]},
    "instance_gpus": {"a": ["x"]},
}
ASSET = {
    **{"asset_id": "a", "entity_id": "e", "facility_id": "f", "name": "A", "gpu_count": 8},
    **{"currency": "EUR", "valid_from": "2024-01-01T00:00:00Z"},
}
OWNED = ASSET | {
    **{"terms": "owned", "purchase_price": "300000", "residual_value": 0, "life_months": 60},
    "in_service": "2024-01-01T00:00:00Z",
}
LEASED = ASSET | {"terms": "lease", "gpu_hour_rate": "2"}


@pytest.mark.parametrize(
    ("model", "base", "change", "said"),
    [
        (NewPrice, PRICE, {"amount": 5.0}, "amount: found 5.0; send a decimal as text"),
        (NewPrice, PRICE, {"amount": "-1"}, "amount: found '-1'; send 0 or more"),
        (NewPrice, PRICE, {"amount": "٣"}, "amount: found '٣'; send a decimal as text"),
        (NewPrice, PRICE, {"amount": "NaN"}, "amount: found 'NaN'; send a finite decimal"),
        (NewPrice, PRICE, {"amount": "0.1234567"}, "one unit must have at most 12"),
        (NewPrice, PRICE, {"per": 500}, "per: found 500; send a power of ten"),
        (NewPrice, PRICE, {"meter": "inputs"}, "meter: found 'inputs'; send one of input,"),
        (NewPrice, PRICE, {"valid_from": "2024-01-01T00:05:00Z"}, "on a quarter hour"),
        (NewPrice, PRICE, {"valid_from": "2024-01-01T00:00:00"}, "has no offset"),
        (NewPrice, PRICE, {"valid_to": "2024-01-01T00:00:00Z"}, "valid_to: found"),
        (NewPrice, PRICE, {"tear": "batch"}, "tear: found 'batch'; leave it out"),
        (NewEntity, ENTITY, {"currency": "euro"}, "a currency of ISO 4217"),
        (NewEntity, ENTITY, {"zone": "Europe/Berlinn"}, "an IANA time zone"),
        (NewEntity, ENTITY, {"name": ""}, "name: found ''; send at least 1 characters"),
        (NewDeployment, DEPLOYMENT, {"gpu_uuids": ["a"]}, "gpu_count: found 2; send 1"),
        (NewDeployment, DEPLOYMENT, {"gpu_uuids": ["a", "a"]}, "send each name once"),
        (NewDeployment, DEPLOYMENT, {"gpu_count": None}, "or name the GPUs"),
        (NewDeployment, DEPLOYMENT, {"gpu_share": "0"}, "a part above 0, up to 1"),
        (NewDeployment, DEPLOYMENT, {"gpu_share": "1.5"}, "a part above 0, up to 1"),
        (NewDeployment, DEPLOYMENT, {"gpu_share": "0.1234567"}, "at most 6 decimal places"),
        (
            NewDeployment,
            DEPLOYMENT,
            {"gpu_share": "0.5", "mig_slices": ["1g.10gb"]},
            "leave it out with mig_slices",
        ),
        (NewDeployment, DEPLOYMENT, {"gpu_split": "weights"}, "name the GPUs in gpu_uuids"),
        (NewDeployment, PAIR, {"gpu_split": "busy_time"}, "which GPUs each engine instance"),
        (NewDeployment, DEPLOYMENT, {"gpu_split": "turns"}, "gpu_split: found 'turns'"),
        (NewDeployment, DEPLOYMENT, {"gpu_count": True}, "gpu_count: found True"),
        (NewDeployment, PAIR, {"instance_gpus": {"c": ["x"]}}, "instance_gpus: found c"),
        (NewDeployment, PAIR, {"instance_gpus": {"a": ["z"]}}, "instance_gpus: found z"),
        (NewDeployment, PAIR, {"instance_gpus": {"a": []}}, "none without any"),
        (NewDeployment, PAIR, {"instance_gpus": {"a": ["x"], "b": ["x"]}}, "under one instance"),
        (NewDeployment, PAIR, {"instance_gpus": {"a": ["x", "y"]}}, "leave it a GPU"),
        (NewDeployment, DEPLOYMENT, {"slot_s": 7}, "send a divisor of 900, like 15"),
        (NewDeployment, DEPLOYMENT, {"slot_s": 0}, "slot_s: found 0"),
        (NewDeployment, DEPLOYMENT, {"idle_mw_per_gpu": -1}, "idle_mw_per_gpu: found -1"),
        (NewDeployment, DEPLOYMENT, {"weights": {"step": -1}}, "weights.step: found -1"),
        (NewAsset, OWNED, {"gpu_hour_rate": "2"}, "leave it out with terms owned"),
        (NewAsset, OWNED, {"all_in": True}, "all_in: found True"),
        (NewAsset, OWNED, {"residual_value": "300001"}, "at most the purchase price 300000"),
        (NewAsset, OWNED, {"life_months": 0}, "life_months"),
        (NewAsset, OWNED, {"method": "declining"}, "send it with declining"),
        (NewAsset, OWNED, {"rate_percent": "8"}, "leave it out with straight_line"),
        (NewAsset, OWNED, {"method": "sum_of_digits"}, "method"),
        (
            *(NewAsset, OWNED),
            *({"method": "capital_recovery", "rate_percent": "101"}, "from 0 to 100"),
        ),
        (
            *(NewAsset, LEASED),
            *({"method": "declining", "rate_percent": "8"}, "leave it out with terms lease"),
        ),
        (NewAsset, OWNED, {"life_months": None}, "life_months: found nothing"),
        (NewAsset, LEASED, {"gpu_hour_rate": None}, "gpu_hour_rate: found nothing"),
        (NewAsset, LEASED, {"purchase_price": "1"}, "leave it out with terms lease"),
        (TariffPeriod, PERIOD, {"price_per_kwh": "1"}, "either price_per_mwh or price_per_kwh"),
        (TariffPeriod, PERIOD, {"end": "2024-01-01T01:00:00Z"}, "either end or resolution"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(
    model: type[InputModel], base: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    read_input(model, base)
    with pytest.raises(InputError) as refused:
        read_input(model, base | change)
    assert said in str(refused.value)


def test_pue_below_one_and_rate_of_zero_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        read_input(
            NewPue, {"facility_id": "f", "pue": "0.99", "valid_from": "2024-01-01T00:00:00Z"}
        )
    rate = {"base": "EUR", "quote": "USD", "day": "2024-01-01", "rate": "0", "source": "x"}
    with pytest.raises(InputError, match="a rate above 0"):
        read_input(NewFxRates, {"rates": [rate]})


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(InputError) as refused:
        read_input(NewEntity, {"entity_id": "a", "currency": 1, "zone": "Mars"})
    assert [problem.field for problem in refused.value.problems] == ["name", "currency", "zone"]


@given(st.integers(-(10**9), 10**9), st.integers(0, 9))
def test_price_per_kwh_is_exactly_a_thousandth_of_one_per_mwh(units: int, places: int) -> None:
    text = format(Decimal(units).scaleb(-places), "f")
    period = {name: value for name, value in PERIOD.items() if name != "price_per_mwh"}
    price = read_input(TariffPeriod, period | {"price_per_kwh": text})
    assert price.per_mwh == Decimal(units) * 1000 / Decimal(10) ** places


def test_row_of_text_means_what_the_same_json_means() -> None:
    cells = {
        **{"deployment_id": "d", "asset_id": "a", "model": "m", "gpu_uuids": "GPU-1; GPU-2"},
        **{"tier": "", "weights.output": "7", "valid_from": "2024-01-01T00:00:00Z"},
    }
    raw = {
        **{"deployment_id": "d", "asset_id": "a", "model": "m", "gpu_uuids": ["GPU-1", "GPU-2"]},
        **{"weights": {"output": 7}, "valid_from": "2024-01-01T00:00:00Z"},
    }
    assert read_texts(NewDeployment, cells) == read_input(NewDeployment, raw)
    leased = {name: str(value) for name, value in LEASED.items()} | {"all_in": "true"}
    assert read_texts(NewAsset, leased).all_in is True
    with pytest.raises(InputError, match="gpu_count: found '8 GPUs'; send a whole number"):
        read_texts(NewAsset, leased | {"gpu_count": "8 GPUs"})


def test_which_gpus_an_instance_runs_on_is_a_cell() -> None:
    cells = {
        **{"deployment_id": "d", "asset_id": "a", "model": "m", "gpu_uuids": "GPU-1;GPU-2;GPU-3"},
        **{"valid_from": "2024-01-01T00:00:00Z", "engine_instances": "vllm-0; vllm-1"},
    }
    read = read_texts(NewDeployment, cells | {"instance_gpus": "vllm-0=GPU-1 GPU-2; vllm-1=GPU-3"})
    assert read.instance_gpus == {"vllm-0": ("GPU-1", "GPU-2"), "vllm-1": ("GPU-3",)}
    for text in ("GPU-1", "vllm-0=GPU-1; vllm-0=GPU-2"):
        with pytest.raises(InputError, match="instance_gpus: found"):
            read_texts(NewDeployment, cells | {"instance_gpus": text})


def test_which_part_of_gpus_a_deployment_has_is_a_cell() -> None:
    cells = {
        **{"deployment_id": "d", "asset_id": "a", "model": "m", "gpu_uuids": "GPU-1"},
        "valid_from": "2024-01-01T00:00:00Z",
    }
    assert read_texts(NewDeployment, cells | {"gpu_share": "0.25"}).gpu_share == Decimal("0.25")
    cut = read_texts(NewDeployment, cells | {"mig_slices": "3g.40gb; 2g.20gb"})
    assert cut.mig_slices == ("3g.40gb", "2g.20gb")


def test_a_tariff_needs_a_price() -> None:
    with pytest.raises(InputError):
        read_input(NewTariffPrices, {"tariff_id": "t", "prices": []})


def test_what_the_documents_show_of_cost_can_be_entered() -> None:
    texts = re.findall(r"```json\n(.*?)```", (DOCS / "cost.md").read_text(), re.DOTALL)
    deployment, shared, policy = (json.loads(text) for text in texts)
    assert read_input(NewDeployment, shared).gpu_share == Decimal("0.25")
    said = read_input(NewDeployment, deployment)
    assert (said.weights.step, said.idle_mw_per_gpu, said.slot_s) == (27_430_000, 110_000, 15)
    assert read_input(NewIdlePolicy, policy).scope == f"deployment:{said.deployment_id}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *(
            ({field: f"A{sign}B"}, f"{field}: found .*remove the sign {code}")
            for field in ("name", "address", "tax_number", "email", "payment_account")
            for sign, code in {
                "\u202e": r"U\+202E",
                "\x1b": r"U\+001B",
                "\ufeff": r"U\+FEFF",
                "\ue000": r"U\+E000",
                "\uffff": r"U\+FFFF",
                "\u3164": r"U\+3164",
            }.items()
        ),
        ({"name": "A\nB"}, r"name: found .*remove the sign U\+000A"),
        ({"name": " \u3000"}, "name: found .*send a name that can be seen"),
        ({"name": "\u200d \u200f"}, "name: found .*send a name that can be seen"),
        ({"name": "Caf\ufffd"}, "name: found .*a sign was lost on the way"),
    ],
)
def test_what_stands_on_documents_can_be_seen(change: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_input(NewEntity, ENTITY | change)


def test_signs_that_scripts_need_and_lines_of_other_systems_are_taken() -> None:
    read = read_input(
        NewEntity, ENTITY | {"name": "شرکت نمونه\u200cای\u200e", "address": "Street 1\r\nTown"}
    )
    assert (read.name, read.address) == ("شرکت نمونه\u200cای\u200e", "Street 1\nTown")
