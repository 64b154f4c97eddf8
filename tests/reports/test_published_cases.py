"""Figures that others published, told by our own reports: cost by kind, by phase, of idle."""

import csv
import io
import json
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ledger.domain.apportion import apportion, units_of
from ledger.domain.author import Author
from ledger.flows.cost.allocate import allocate
from ledger.flows.reference.enter import enter_deployment
from ledger.reports.cost.efficiency import EFFICIENCY, efficiency_report
from ledger.reports.cost.margin import margin_report
from ledger.reports.cost.margin_json import to_json as margin_json
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from ledger.wire.factory_inputs import NewDeployment
from ledger.wire.inputs import read_input
from ledger.wire.units import MJ_PER_J
from tests.support.books import Books, Buyer, Tokens

START = datetime(2024, 12, 12, 16, tzinfo=UTC)
QUARTER, HOUR = timedelta(minutes=15), timedelta(hours=1)
AUTHOR = Author("test", "published figures", "request-1")
MILLION = 10**6


@dataclass(frozen=True, slots=True)
class Case:
    """A factory of one site over a while, from `start` on."""

    books: Books
    start: datetime = START
    length: timedelta = QUARTER

    @property
    def until(self) -> datetime:
        return self.start + self.length

    async def open(self, *, pue: str | None = None, price: str | None = None) -> None:
        await self.books.entity(currency="USD")
        await self.books.customer()
        await self.books.facility()
        if pue is not None:
            await self.books.pue(self.start, self.until, pue=pue)
        if price is not None:
            await self.books.tariff([(self.start, self.until, price)], currency="USD")

    async def deploy(self, name: str = "chat", *, gpus: int = 1, **said: Any) -> None:
        raw = {
            **{"deployment_id": name, "asset_id": "rack", "model": "llama", "gpu_count": gpus},
            **{"valid_from": self.start.isoformat(), "valid_to": self.until.isoformat()},
            **said,
        }
        await enter_deployment(self.books.connection, read_input(NewDeployment, raw), AUTHOR)

    async def lease(self, rate: str, *, gpus: int = 1, all_in: bool = True) -> None:
        await self.books.lease(
            *(self.start, self.until), gpu_count=gpus, rate=rate, currency="USD", all_in=all_in
        )

    async def serve(self, tokens: Tokens) -> None:
        """The tokens, evenly over the quarter hours, each of them busy throughout."""
        quarters = self.length // QUARTER
        for number in range(quarters):
            part = Tokens(
                *(
                    count * (number + 1) // quarters - count * number // quarters
                    for count in (
                        tokens.uncached,
                        tokens.cache_read,
                        tokens.cache_write,
                        tokens.output,
                    )
                )
            )
            await self.books.usage(self.start + number * QUARTER, part)

    async def draw(self, gpus: list[str], energy_mj: int) -> None:
        """So much energy of each GPU, evenly, read each quarter hour."""
        quarters = self.length // QUARTER
        for gpu in gpus:
            reads = [
                (self.start + n * QUARTER, 10**6 + energy_mj * n // quarters)
                for n in range(quarters + 1)
            ]
            await self.books.readings(gpu, reads)

    async def efficiency(self, by: str = "model") -> dict[str, Any]:
        await allocate(self.books.connection, now=self.until + HOUR)
        cut_off = await draw_cut_off(self.books.connection, "report")
        report = await efficiency_report(
            self.books.connection,
            entity_id="factory",
            since=self.start,
            until=self.until,
            cut_off=cut_off,
            by=(by,),
        )
        return dict(EFFICIENCY.to_json(report))

    async def kinds(self) -> dict[str, dict[str, Any]]:
        found = await self.efficiency()
        assert found["missing"] is None
        return {each["kind"]: each for each in found["items"][0]["kinds"]}

    async def margin(self, by: str = "model") -> dict[str, Any]:
        await allocate(self.books.connection, now=self.until + HOUR)
        cut_off = await draw_cut_off(self.books.connection, "report")
        report = await margin_report(
            self.books.connection,
            entity_id="factory",
            since=self.start,
            until=self.until,
            cut_off=cut_off,
            by=(by,),
        )
        return margin_json(report)


def rounded(text: str, places: str) -> Decimal:
    return Decimal(text).quantize(Decimal(places))


@pytest.fixture
def case(worker: Connection) -> Case:
    return Case(Books(worker))


async def test_a_day_of_deepseek_parts_into_prefill_and_decode(case: Case) -> None:
    # 226.75 nodes of 8 GPUs at 2 USD for a day, all in one quarter hour here. A node takes in
    # 73,700 tokens a second or writes 14,800: one written takes 737 where one read takes 148.
    await case.open()
    await case.lease("192", gpus=1_814)
    weights = {"uncached": 148, "cache_read": 148, "cache_write": 148, "output": 737}
    await case.deploy(gpus=1_814, weights=weights)
    await case.serve(Tokens(uncached=266 * 10**9, cache_read=342 * 10**9, output=168 * 10**9))
    found = await case.kinds()
    read = [found[kind]["cost"] for kind in ("input_uncached", "input_cache_read")]
    taken_in = sum((Decimal(cost) for cost in read), Decimal(0))
    assert taken_in.quantize(Decimal("0.01")) == Decimal("36646.80")
    assert rounded(found["output"]["cost"], "0.01") == Decimal("50425.20")
    assert taken_in + Decimal(found["output"]["cost"]) == 87_072
    assert rounded(found["input_uncached"]["per_million"]["cost"], "0.0001") == Decimal("0.0603")
    assert rounded(found["output"]["per_million"]["cost"], "0.00001") == Decimal("0.30015")


async def test_a_day_of_deepseek_by_what_was_not_cached(case: Case) -> None:
    # The same, where what is read of the cache costs nothing: 148 for each of 608 of 266 tokens.
    await case.open()
    await case.lease("192", gpus=1_814)
    weights = {"uncached": 148 * 608, "cache_read": 0, "output": 737 * 266}
    await case.deploy(gpus=1_814, weights=weights)
    await case.serve(Tokens(uncached=266 * 10**9, cache_read=342 * 10**9, output=168 * 10**9))
    found = await case.kinds()
    assert rounded(found["input_uncached"]["cost"], "0.01") == Decimal("36646.80")
    assert rounded(found["input_uncached"]["per_million"]["cost"], "0.0001") == Decimal("0.1378")
    assert Decimal(found["input_cache_read"]["cost"]) == 0


async def test_nodes_that_read_and_nodes_that_write_need_no_weights(case: Case) -> None:
    # Nodes of 8 H100 at 2 USD: one reads 52,300 tokens a second, one writes 22,300.
    await case.open()
    await case.lease("2", gpus=16)
    for name in ("prefill", "decode"):
        await case.deploy(name, gpus=8, model=name)
    read, wrote = (Buyer(model=name) for name in ("prefill", "decode"))
    await case.books.usage(START, Tokens(uncached=52_300 * 900), buyer=read)
    await case.books.usage(START, Tokens(output=22_300 * 900), buyer=wrote)
    each = {row["model"]: row["per_million"] for row in (await case.efficiency())["items"]}
    assert rounded(each["prefill"]["cost"], "0.0001") == Decimal("0.0850")
    assert rounded(each["decode"]["cost"], "0.0001") == Decimal("0.1993")


@pytest.mark.parametrize(
    ("rate", "watts", "per_million", "of_a_mw"),
    [
        ("1.30", 1_730, "0.3611", 578_035),
        ("1.69", 1_730, "0.4694", 578_035),
        ("1.95", 2_170, "0.5417", 460_829),
        ("2.34", 2_170, "0.6500", 460_829),
        ("2.90", 2_170, "0.8056", 460_829),
    ],
    ids=[
        "H100, hyperscaler",
        "H100, neocloud",
        "B200, hyperscaler",
        "B200, neocloud",
        "B200, rented",
    ],
)
async def test_a_gpu_at_a_thousand_tokens_a_second(
    case: Case, rate: str, watts: int, per_million: str, of_a_mw: int
) -> None:
    # Its rate is all-in, and so is its power.
    hour = Case(case.books, length=HOUR)
    await hour.open(pue="1")
    await hour.lease(rate)
    await hour.deploy(gpu_uuids=["GPU-a"])
    await hour.serve(Tokens(output=3_600_000))
    await hour.draw(["GPU-a"], watts * 3_600 * MJ_PER_J)
    (row,) = (await hour.efficiency())["items"]
    assert rounded(row["per_million"]["cost"], "0.0001") == Decimal(per_million)
    assert Decimal(row["joules_per_output_token"]) == Decimal(watts) / 1_000
    # Tokens a second of a MW are those of a kWh, by 3.6.
    a_second_of_a_mw = Decimal(row["output_tokens_per_kwh"]) / Decimal("3.6")
    assert a_second_of_a_mw.quantize(Decimal(1)) == of_a_mw


async def test_inference_cost_by_the_time_of_its_phases(case: Case) -> None:
    # 600 s read 12 million tokens, 0.8 of them cached, and 600 s wrote 3 million.
    await case.open()
    await case.lease("12.80")
    await case.deploy(weights={"uncached": 1, "cache_read": 1, "output": 4})
    tokens = Tokens(uncached=11_200_000, cache_read=800_000, output=3_000_000)
    await case.serve(tokens)
    (row,) = (await case.efficiency())["items"]
    each = {
        kind["kind"]: rounded(kind["per_million"]["cost"], "0.0001") for kind in row["kinds"][:2]
    }
    assert each == dict.fromkeys(("input_uncached", "input_cache_read"), Decimal("0.1333"))
    assert rounded(row["kinds"][3]["per_million"]["cost"], "0.0001") == Decimal("0.5333")
    assert rounded(row["per_million"]["cost"], "0.0001") == Decimal("0.2133")


async def test_inference_cost_by_a_declared_multiplier(case: Case) -> None:
    await case.open()
    await case.lease("20")
    await case.deploy(weights={"uncached": 2, "output": 5})
    await case.serve(Tokens(uncached=800_000, output=200_000))
    found = await case.kinds()
    assert rounded(found["input_uncached"]["per_million"]["cost"], "0.0001") == Decimal("3.8462")
    assert rounded(found["output"]["per_million"]["cost"], "0.0001") == Decimal("9.6154")
    assert sum(Decimal(each["cost"]) for each in found.values()) == 5


async def test_usage_and_allocation_are_two_bases(case: Case) -> None:
    await case.open()
    await case.lease("16")
    await case.deploy()
    await case.books.usage(START, Tokens(output=1), busy=range(225))
    found = await case.margin()
    (row,) = found["items"]
    assert [Decimal(row["cost_before_idle"]), Decimal(row["cost"])] == [1, 4]


async def test_what_was_requested_is_allocated_and_the_rest_is_idle(case: Case) -> None:
    # Eight at 10 USD: one asks for three of them and uses one, one for one, and four are nobody's.
    await case.open()
    await case.lease("5", gpus=8)
    await case.deploy("a", gpus=3, model="a")
    await case.deploy("b", gpus=1, model="b")
    for model, busy in (("a", 300), ("b", 900)):
        await case.books.usage(START, Tokens(output=1), buyer=Buyer(model=model), busy=range(busy))
    found = await case.margin()
    costs = {row["model"]: Decimal(row["cost"]) for row in found["items"]}
    used = {row["model"]: Decimal(row["cost_before_idle"]) for row in found["items"]}
    nobody = {line["scope"]: Decimal(line["shared_by_nobody"]) for line in found["own_lines"]}
    assert costs == {"a": Decimal("3.75"), "b": Decimal("1.25")}
    assert used == {"a": Decimal("1.25"), "b": Decimal("1.25")}
    assert nobody["asset:rack"] == 5


async def test_a_node_is_parted_as_its_list_prices_are(case: Case) -> None:
    await case.open()
    await case.lease("20", gpus=7)
    for name, gpus in (("cpu", 3), ("memory", 3), ("gpu", 1)):
        await case.deploy(name, gpus=gpus, model=name)
    found = await case.margin()
    lines = {line["scope"]: Decimal(line["cost"]) for line in found["own_lines"]}
    assert lines == {
        **{"deployment:cpu": 15, "deployment:memory": 15, "deployment:gpu": 5},
    }


async def test_idle_that_nobody_shares_stays(case: Case) -> None:
    await case.open()
    await case.lease("108")
    found = await case.margin()
    assert found["items"] == []
    (line,) = found["own_lines"]
    assert (line["line"], line["scope"]) == ("idle", "asset:rack")
    assert Decimal(line["shared_by_nobody"]) == 27
    assert Decimal(found["total"]["cost"]) == 27


async def test_an_estimate_of_a_query(case: Case) -> None:
    # 1e14 operations at a tenth of 9.89e14 a second, 1,275 W times 1.2 times 0.7: 1,082.9 J.
    joules = (
        Decimal("1275") * Decimal("1.2") * Decimal("0.7") * Decimal(10**14) / Decimal(989 * 10**11)
    )
    await case.open(pue="1")
    await case.lease("1")
    await case.deploy(gpu_uuids=["GPU-a"])
    await case.serve(Tokens(output=500))
    await case.draw(["GPU-a"], int(joules * MJ_PER_J))
    (row,) = (await case.efficiency())["items"]
    watt_hours = Decimal(row["per_million"]["energy_kwh"]) * 500 / 1_000
    assert watt_hours.quantize(Decimal("0.0001")) == Decimal("0.3008")


async def test_seventy_billion_parameters_at_a_batch_of_a_thousand(case: Case) -> None:
    # Four GPUs draw 2,548 W and write 6,827 tokens a second; published figures are rounded.
    hour = Case(case.books, length=HOUR)
    gpus = [f"GPU-{n}" for n in range(4)]
    await hour.open(pue="1.2", price="80")
    await hour.lease("2", gpus=4, all_in=False)
    await hour.deploy(gpus=4, gpu_uuids=gpus)
    await hour.serve(Tokens(output=6_827 * 3_600))
    await hour.draw(gpus, 637 * 3_600 * MJ_PER_J)
    (row,) = (await hour.margin())["items"]
    tokens = Decimal(6_827 * 3_600) / MILLION
    near = Decimal("0.003")
    device_mj = Decimal(row["device_metered_mj"] + row["device_estimated_mj"])
    for found, published in (
        (device_mj / MJ_PER_J / MILLION / tokens, "0.3731"),
        (Decimal(row["electricity"]) / tokens, "0.00995"),
        (Decimal(row["gpu_cost"]) / tokens, "0.3255"),
    ):
        assert abs(found / Decimal(published) - 1) < near


async def test_the_same_with_all_that_stands_around_its_gpus(case: Case) -> None:
    # 1.73 kW for each of the four: the host is what that has beyond the boards' 637 W.
    hour = Case(case.books, length=HOUR)
    gpus = [f"GPU-{n}" for n in range(4)]
    await hour.open(price="80")
    await case.books.pue(hour.start, hour.until, pue="1", host_mw_per_gpu=1_093_000)
    await hour.lease("2", gpus=4, all_in=False)
    await hour.deploy(gpus=4, gpu_uuids=gpus)
    await hour.serve(Tokens(output=6_827 * 3_600))
    await hour.draw(gpus, 637 * 3_600 * MJ_PER_J)
    (row,) = (await hour.efficiency())["items"]
    assert rounded(row["joules_per_output_token"], "0.0001") == Decimal("1.0136")
    (row,) = (await hour.margin())["items"]
    electricity = Decimal(row["electricity"]) / (Decimal(6_827 * 3_600) / MILLION)
    assert electricity.quantize(Decimal("0.0001")) == Decimal("0.0225")


@pytest.mark.parametrize(
    ("price", "cost"),
    [("936.280029", "0.127720826"), ("-60.049999", "-0.008191604")],
    ids=["dearest hour", "negative hour"],
)
async def test_a_measured_run_costs_what_a_million_of_its_tokens_took(
    case: Case, shared_data: Path, price: str, cost: str
) -> None:
    published = json.loads((shared_data / "energy" / "mlenergy_lm-arena-chat.json").read_text())
    (run,) = (
        each
        for each in published["configurations"]
        if each["model_id"] == "meta-llama/Llama-3.3-70B-Instruct"
        and (each["gpu_model"], each["num_gpus"], each["max_num_seqs"]) == ("H100", 4, 256)
    )
    hour = Case(case.books, length=HOUR)
    gpus = [f"GPU-{n}" for n in range(4)]
    await hour.open(pue="1", price=price)
    await hour.lease("0", gpus=4, all_in=False)
    await hour.deploy(gpus=4, gpu_uuids=gpus, weights={"uncached": 0, "cache_write": 0})
    await hour.serve(Tokens(output=12_500_000))
    whole = Decimal(str(run["energy_per_token_joules"])) * 12_500_000 * MJ_PER_J
    await hour.draw(gpus, round(whole / 4))
    each = (await hour.kinds())["output"]["per_million"]
    assert rounded(each["energy_kwh"], "1e-9") == rounded("0.1364130624", "1e-9")
    assert rounded(each["cost"], "1e-9") == Decimal(cost)


def requests_of_a_day(shared_data: Path) -> dict[str, int]:
    """Requests of each client of a published service in a day, times a thousand."""
    path = shared_data / "traces" / "servegen_deepseek-r1.tar.gz"
    requests = {}
    with tarfile.open(path) as archive:
        for member in archive:
            found = archive.extractfile(member) if member.name.endswith("-trace.csv") else None
            if found is not None:
                rows = csv.reader(io.StringIO(found.read().decode()))
                rates = [Decimal(row[1]) for row in rows]
                name = Path(member.name).name.removesuffix("-trace.csv")
                requests[name] = int(sum(rates) * 600 * 1_000)
    return requests


async def test_cents_of_many_clients_add_up(case: Case, shared_data: Path) -> None:
    requests = requests_of_a_day(shared_data)
    assert len(requests) == 73
    await case.open()
    await case.lease("88.88")
    await case.deploy()
    await case.books.usages(
        [
            (START, Tokens(output=count), Buyer(customer_id=None, customer_ref=name))
            for name, count in requests.items()
        ]
    )
    found = await case.efficiency("customer")
    costs = [Decimal(row["cost"]) for row in found["items"]]
    assert sum(costs) == Decimal(found["total"]["cost"]) == Decimal("22.22")
    cents = apportion(2_222, [units_of(cost) for cost in costs])
    assert (len(cents), sum(cents)) == (73, 2_222)
