"""What the books cover is counted, and every cost line leads back to what it came from."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.errors import InvalidInputError, MissingInputError, NotFoundError
from ledger.flows.cost.allocate import allocate
from ledger.reports.cost.evidence import AskedCost, asked_usage_key, trace_cost
from ledger.reports.cost.margin import margin_report
from ledger.reports.energy import energy
from ledger.reports.energy.energy import energy_report
from ledger.reports.findings import gaps_to_lines, to_lines
from ledger.reports.metering import coverage_text
from ledger.reports.metering.coverage import coverage_report
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from tests.support.books import Books, Buyer, Tokens
from tests.support.one_gpu import GPU, LATER, QUARTER, START, at, one_gpu, steady


async def ask(connection: Connection) -> dict[str, Any]:
    """What a report of the hour is told."""
    return {
        "entity_id": "factory",
        "since": START,
        "until": at(3600),
        "cut_off": await draw_cut_off(connection, "report"),
    }


async def test_energy_report_tells_busy_from_idle_by_model_and_scope(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 3601, 10)))
    await books.usage(START, Tokens(output=90_000), busy=range(450))
    await allocate(worker, now=LATER)
    report = await energy_report(worker, **await ask(worker))
    (model,) = report.by_model
    assert model.name == "llama"
    assert model.busy_mj == 450 * 450_000 * 6 // 5
    assert model.idle_mj == 7 * model.busy_mj
    assert model.idle_permille == 875
    headers, rows = energy.HEADERS, energy.to_rows(report.by_model)
    # 1,944 kJ for 90,000 tokens.
    assert dict(zip(headers, rows[0], strict=True))["J/output token"] == "21.600000"
    assert [row["name"] for row in energy.to_json(report)["by_scope"]] == ["deployment:chat"]


async def test_coverage_counts_gpu_seconds_with_readings(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 1801, 10)))
    await allocate(worker, now=LATER)
    (row,) = (await coverage_report(worker, **await ask(worker))).energy
    assert (row.deployed_gpu_s, row.covered_gpu_s, row.asked) == (3600, 1800, True)


async def test_coverage_lists_usage_that_no_deployment_served(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.usage(START, Tokens(output=30))
    await books.usage(START, Tokens(output=10), buyer=Buyer(model="mystery"))
    await allocate(worker, now=LATER)
    usage = (await coverage_report(worker, **await ask(worker))).usage
    assert (usage.tokens, usage.served_tokens) == (40, 30)
    assert ["model mystery" in str(gap) for gap in usage.unclaimed] == [True]


async def test_engine_counts_stand_beside_what_events_say(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.usage(START, Tokens(uncached=60, cache_read=20, output=10), instance="vllm-0")
    await books.counters(
        "vllm-0",
        [(at(0), "prompt_tokens", 1000), (at(1800), "prompt_tokens", 1100)],
    )
    await books.counters("vllm-0", [(at(0), "generation_tokens", 5)])
    await books.counters("vllm-0", [(at(1800), "generation_tokens", 3)], run_id="second")
    report = await coverage_report(worker, **await ask(worker))
    (hour,) = report.engines
    assert (hour.input.engine, hour.input.events, hour.input.difference) == (100, 80, 20)
    assert (hour.output.engine, hour.output.events, hour.output.difference) == (3, 10, -7)
    (shown,) = coverage_text.to_json(report)["engines"]
    assert (shown["engine_instance"], shown["flags"]) == ("vllm-0", ["new_run"])


async def test_meter_of_no_entity_is_listed_where_there_are_several(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.entity("second")
    await books.lease(START, at(3600), asset_id="rack-2", entity_id="second")
    await books.readings("GPU-stray", steady(range(0, 3601, 10)))
    await allocate(worker, now=LATER)
    assert (await coverage_report(worker, **await ask(worker))).stray_gpus == ("GPU-stray",)


async def test_cost_line_leads_back_to_readings_and_prices(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    readings = steady(range(-5, 3601, 10))
    await books.readings(GPU, readings)
    await books.usage(START, Tokens(uncached=5, output=7), busy=range(300))
    await allocate(worker, now=LATER)
    # What became known later is no evidence of what was said then.
    later = await draw_cut_off(worker, "report")
    await books.readings(GPU, [(at(12), 1)], epoch="boot-0")
    asked = AskedCost("factory", "deployment:chat", at(301), "usage", Buyer().usage_key_id)
    found = await trace_cost(worker, asked, cut_off=later)
    inside = [(s, mj) for s, mj in readings if s < START + QUARTER]
    assert len(found.readings) == len(inside) + 1
    assert found.readings[0].sampled_at == START - timedelta(seconds=5)
    assert [price.price_per_mwh for price in found.prices] == [Decimal(100)]
    assert found.uplift is not None
    assert found.uplift.pue == Decimal("1.2")
    assert found.asset is not None
    assert found.asset.purchase_price == 30_000
    assert [pool.kind for pool in found.pools] == ["electricity", "gpu"]
    assert [one.activity.usage_key_id for one in found.activity] == [Buyer().usage_key_id]
    assert found.meters[0].metered_mj == 900 * 400_000
    (line,) = found.lines
    assert (line.busy_s, line.customer_id) == (300, "acme")
    whole = await trace_cost(worker, replace(asked, line=None, usage_key_id=None), cut_off=later)
    assert [line.line for line in whole.lines] == ["idle", "usage"]
    costs = [line.device_cost + line.overhead_cost + line.gpu_cost for line in whole.lines]
    assert sum(costs) == sum(pool.amount for pool in whole.pools)


async def test_what_was_never_known_has_no_evidence_and_what_is_known_is_named(
    worker: Connection,
) -> None:
    asked = AskedCost("factory", "deployment:chat", START)

    async def refused(asked: AskedCost, says: str) -> None:
        with pytest.raises(NotFoundError, match=says):
            await trace_cost(worker, asked, cut_off=await draw_cut_off(worker, "report"))

    books = Books(worker)
    await one_gpu(books)
    await refused(asked, "No cost of deployment:chat is known at 2026-03-02T10:00Z. Allocate first")
    await books.readings(GPU, steady(range(-5, 3601, 10)))
    await books.usage(START, Tokens(output=7), busy=range(300))
    await allocate(worker, now=LATER)
    key = Buyer().usage_key_id
    await refused(replace(asked, line="unattributed"), f"There are: idle, usage of key {key}")
    await refused(replace(asked, usage_key_id=key + 1), f"There are: idle, usage of key {key}")
    await refused(replace(asked, scope="deployment:chta"), "There are: deployment:chat")
    before = START - QUARTER
    await refused(replace(asked, moment=before), "from 2026-03-02T10:00Z to 2026-03-02T10:45Z")
    with pytest.raises(MissingInputError, match="Entity 'other' has no cost"):
        await refused(replace(asked, entity_id="other"), "No cost")


@pytest.mark.parametrize(
    "text", ["", "x", "1.5", "٣", "9223372036854775808", "-9223372036854775809"]
)
def test_a_usage_key_is_64_bits(text: str) -> None:
    assert asked_usage_key(None) is None
    assert asked_usage_key(str(-(2**63))) == -(2**63)
    with pytest.raises(InvalidInputError, match="usage_key"):
        asked_usage_key(text)


async def test_a_meter_that_sent_readings_nobody_believes_is_told_by_its_reasons(
    worker: Connection,
) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, [(at(5 * n), 7_000) for n in range(721)], power_mw=400_000)
    await books.usage(START, Tokens(output=90_000), busy=range(450))
    await allocate(worker, now=LATER)
    asked = await ask(worker)
    with pytest.raises(MissingInputError) as refused:
        await margin_report(worker, **asked)
    said = str(refused.value)
    assert "energy of GPU" in said
    assert "720 readings came in the period; counter_frozen" in said
    assert "send" not in said
    assert "look at `report coverage`" in said
    for report in (await coverage_report(worker, **asked), await energy_report(worker, **asked)):
        (found,) = report.findings
        assert (found.gpu_uuid, found.reason, found.windows) == (GPU, "counter_frozen", 4)
        (line,) = to_lines(report.findings)
        assert line.startswith(f"Noticed at GPU {GPU}: counter_frozen in 4 quarter hours from ")
        assert "stood still while the board drew power" in line
    assert (
        coverage_text.to_json(await coverage_report(worker, **asked))["findings"][0]["windows"] == 4
    )


async def test_what_collectors_told_of_a_meter_is_shown_everywhere(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 1801, 10)))
    for until in (at(1_860), at(3_600)):
        await books.meter_gap(GPU, "gpu_lost", at(1_800), until)
    await books.meter_gap("GPU-of-another", "gpu_lost", at(0), at(60))
    await books.meter_gap("source:nvml", "library_missing", at(0), at(60))
    await books.usage(START, Tokens(output=90_000), busy=range(450))
    await allocate(worker, now=LATER)
    asked = await ask(worker)
    everything = await coverage_report(worker, **asked)
    assert [told.gpu_uuid for told in everything.meter_gaps] == [GPU, "source:nvml"]
    own = await coverage_report(worker, **asked, alone=True)
    for report in (own, await energy_report(worker, **asked)):
        (told,) = report.meter_gaps
        assert (told.gpu_uuid, told.reason) == (GPU, "gpu_lost")
        assert (told.since, told.until) == (at(1_800), at(3_600))
        (line,) = gaps_to_lines(report.meter_gaps)
        assert line.startswith(f"Told of GPU {GPU} by test: gpu_lost from 2026-03-02T10:30:00Z to")
    (shown,) = coverage_text.to_json(own)["meter_gaps"]
    assert shown["meaning"] == "the driver lost the board, or wants it reset"
    with pytest.raises(MissingInputError) as refused:
        await margin_report(worker, **asked)
    assert "181 readings came in the period; gpu_lost" in str(refused.value)


async def test_a_meter_that_never_answered_is_missing_with_its_reason(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.meter_gap(GPU, "no_permission", at(0), at(3_600))
    await allocate(worker, now=LATER)
    with pytest.raises(MissingInputError, match=r"of GPU GPU-a \(no_permission\) from"):
        await margin_report(worker, **await ask(worker))


async def test_a_meter_that_sent_nothing_is_asked_for_readings(worker: Connection) -> None:
    await one_gpu(Books(worker))
    await allocate(worker, now=LATER)
    with pytest.raises(MissingInputError, match=r"send gpu.energy.v1 readings of this GPU"):
        await margin_report(worker, **await ask(worker))
