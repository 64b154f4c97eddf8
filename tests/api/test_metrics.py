"""What an operator watches: every figure is there, with its number."""

from dataclasses import replace

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ledger import metrics
from ledger.domain.metering.fact import Fate
from ledger.domain.metering.record import RecordOutcome, count_fates
from ledger.store.operations import SequenceGap, SourceState
from tests.api.served import SOURCE, Served
from tests.support.usage import attempt

NAMES = (
    *("tokenledger_ingest_items", "tokenledger_ingest_records", "tokenledger_ingest_batch_items"),
    *("tokenledger_ingest_lag_records", "tokenledger_ingest_fences_lost"),
    *("tokenledger_ingest_lost_offsets", "tokenledger_ingest_last_commit_timestamp_seconds"),
    *("tokenledger_source_last_received_timestamp_seconds", "tokenledger_source_items"),
    *("tokenledger_source_last_event_timestamp_seconds", "tokenledger_missing_batches"),
    "tokenledger_quarantined_items",
)


def read(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by family and labels, in the order of the labels' names."""
    return {
        family.name: {tuple(one.labels.values()): one.value for one in family.samples}
        for family in text_string_to_metric_families(text)
    }


def test_what_was_sent_is_measured_by_fate(served: Served) -> None:
    event = attempt("m1") | {"source": SOURCE}
    before = read(served.get("/metrics").text)
    served.send(event, event, event | {"time": "2026-08-06T11:01:30Z"}, b"{nothing")
    after = read(served.get("/metrics").text)
    assert set(NAMES) <= set(after)

    def grown(fate: str) -> float:
        place = (fate, "http")
        items = "tokenledger_ingest_items"
        return after[items][place] - before.get(items, {}).get(place, 0)

    wanted = {"counted": 1, "duplicate": 1, "conflict": 1, "quarantined": 1}
    assert {fate: grown(fate) for fate in wanted} == wanted


def test_metrics_are_for_the_house(served: Served) -> None:
    for role, status in (
        *((None, 401), ("ingest", 403), ("customer", 403)),
        *(("finance", 200), ("admin", 200)),
    ):
        assert served.get("/metrics", role=role).status_code == status


def test_what_the_ledger_knows_is_shown_whoever_stored_it() -> None:
    row = replace(SourceState("s", *[None] * 10), conflict=3)
    gap = SequenceGap("s", "p", 1, "", 2, 4)
    metrics.show_ledger([row], [gap, replace(gap, first_missing=9, last_missing=9)], 7, 0)
    found = read(generate_latest().decode())
    assert found["tokenledger_source_items"]["conflict", "s"] == 3
    assert found["tokenledger_missing_batches"]["", "p", "s"] == 4
    assert found["tokenledger_quarantined_items"][()] == 7
    metrics.show_ledger([row], [], 0, 0)
    assert read(generate_latest().decode())["tokenledger_missing_batches"] == {}


def test_a_transaction_is_counted_once() -> None:
    outcome = RecordOutcome(3, 1, 0, count_fates(3, {0: Fate.DUPLICATE}))
    before = read(generate_latest().decode())["tokenledger_ingest_items"]
    metrics.count_outcomes([outcome, outcome], "file")
    after = read(generate_latest().decode())["tokenledger_ingest_items"]
    assert after["counted", "file"] - before.get(("counted", "file"), 0) == 4
    assert after["duplicate", "file"] - before.get(("duplicate", "file"), 0) == 2
