"""Usage that is not final is said wherever it is summed, and what nobody counted is unknown."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.domain.metering.fact import MARKS
from ledger.domain.metering.record import Record
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.fold import fold
from ledger.flows.metering.release import release_suspense
from ledger.reports.books.export import BooksOf, export_file
from ledger.reports.cost import margin_json, margin_text
from ledger.reports.cost.margin import margin_report
from ledger.reports.grouped import USAGE, Grouping, Totals
from ledger.reports.metering.status import read_status
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from tests.support.usage import (
    NOW,
    Event,
    Gate,
    add_customer,
    attempt,
    correction,
    keyed,
    open_books,
    sequenced,
)

SINCE, UNTIL = datetime(2026, 8, 6, tzinfo=UTC), datetime(2026, 8, 7, tzinfo=UTC)
FROM_FACTS = """
SELECT k.customer_ref, k.model, date_bin('15 minutes', f.time, 'epoch'::timestamptz) AS at,
       sum(f.requests) FILTER (WHERE f.flags & 2 <> 0) AS estimated,
       sum(f.requests) FILTER (WHERE f.flags & 4 <> 0) AS incomplete,
       sum(f.requests) FILTER (WHERE f.flags & 8 <> 0) AS input_unknown,
       sum(f.requests) FILTER (WHERE f.flags & 16 <> 0) AS output_unknown,
       sum(f.requests) FILTER (WHERE f.flags & 65536 <> 0) AS cached_unknown,
       sum(f.requests) FILTER (WHERE f.flags & 131072 <> 0) AS written_unknown,
       sum(f.requests) FILTER (WHERE f.flags & 262144 <> 0) AS reasoning_unknown
  FROM usage_fact f JOIN usage_key k USING (usage_key_id) GROUP BY 1, 2, 3"""
FROM_MARKS = """
SELECT k.customer_ref, k.model, m.window_start AS at, sum(m.estimated) AS estimated,
       sum(m.incomplete) AS incomplete, sum(m.input_unknown) AS input_unknown,
       sum(m.output_unknown) AS output_unknown, sum(m.cached_unknown) AS cached_unknown,
       sum(m.written_unknown) AS written_unknown, sum(m.reasoning_unknown) AS reasoning_unknown
  FROM usage_mark m JOIN usage_key k USING (usage_key_id) GROUP BY 1, 2, 3"""


def marked(
    event_id: str, *, source: str | None = None, complete: bool | None = None, **said: Any
) -> Event:
    event = attempt(event_id, **said)
    event["data"]["usage"] |= {"source": source, "complete": complete}
    return event


def one_sided(event_id: str, side: str, **said: Any) -> Event:
    event = attempt(event_id, **said)
    del event["data"]["usage"]["output" if side == "input" else "input"]
    return event


async def marks(connection: Connection, query: str) -> set[tuple[Any, ...]]:
    rows = [tuple(row) for row in await connection.fetch(query)]
    return {(*row[:3], *(int(n or 0) for n in row[3:])) for row in rows if any(row[3:])}


@pytest.fixture
async def gate(worker: Connection) -> Gate:
    await open_books(worker)
    return Gate(worker)


async def test_marks_follow_corrections_batches_and_releases(gate: Gate) -> None:
    await gate.send(
        keyed(
            attempt("plain"),
            marked("est", source="char_estimate", complete=False, requests=7),
            one_sided("in", "input"),
            one_sided("out", "output", minute=20),
            marked("nobody", source="engine_running", complete=False, customer_id="later"),
        ),
        sequenced([marked("", complete=False), attempt("")]),
    )
    # A correction that is final takes the mark away, and one that comes first keeps it out.
    early = marked("undone", source="tokenizer_count", complete=False)
    await gate.send(keyed(correction("undone.1", of="undone", revision=1)))
    await gate.send(keyed(early), keyed(correction("in.1", of="in", revision=1)))
    both = marked("both", complete=False), correction("both.1", of="both", revision=1)
    await gate.send(keyed(*both))
    found = await marks(gate.connection, FROM_MARKS)
    assert found == await marks(gate.connection, FROM_FACTS)
    assert {row[0] for row in found} == {"acme", "later"}
    await add_customer(gate.connection, "later")
    await release_suspense(gate.connection, directory=DirectoryCache(), now=NOW)
    assert await marks(gate.connection, FROM_MARKS) == await marks(gate.connection, FROM_FACTS)


async def test_marks_fold_as_the_sums_beside_them_do(gate: Gate) -> None:
    async def seen(batch_seq: int) -> set[tuple[Any, ...]]:
        query = FROM_MARKS.replace("GROUP", f"WHERE m.batch_seq <= {batch_seq} GROUP")
        return await marks(gate.connection, query)

    kept = {}
    for n in range(6):
        await gate.send(keyed(marked(f"e{n}", source="char_estimate", complete=False)))
        await gate.send(keyed(one_sided(f"o{n}", "output", minute=20)))
        if n == 3:
            # The mark goes with its correction; what is left of both is nothing.
            await gate.send(keyed(correction("e3.1", of="e3", revision=1)))
        if n in (2, 5):
            cut_off = await draw_cut_off(gate.connection, "report")
            kept[cut_off.batch_seq] = await seen(cut_off.batch_seq)
    rows = "SELECT count(*) FROM usage_mark"
    assert await gate.connection.fetchval(rows) == 13
    await fold(gate.connection)
    # A row for each of both windows and kept cut-offs.
    assert await gate.connection.fetchval(rows) == 4
    assert {at: await seen(at) for at in kept} == kept
    assert await marks(gate.connection, FROM_MARKS) == await marks(gate.connection, FROM_FACTS)


async def test_the_export_has_the_marks_and_says_unknown(gate: Gate) -> None:
    await gate.send(
        keyed(
            marked("est", tokens=7, source="char_estimate", complete=False, requests=3),
            one_sided("in", "input", tokens=5, served_model="embedder"),
        )
    )
    cut_off = await draw_cut_off(gate.connection, "export")
    books = BooksOf("factory", SINCE, UNTIL, cut_off)
    file = b"".join([part async for part in export_file(gate.connection, "usage", books)])
    shown = {row["model"]: row for row in csv.DictReader(io.StringIO(file.decode()))}
    assert [shown["llama"][name] for name in MARKS] == ["3", "3", *"00000"]
    assert [shown["embedder"][name] for name in ("input_uncached", "output_visible")] == [
        "5",
        "unknown",
    ]
    assert shown["embedder"]["output_unknown"] == "1"


async def test_the_report_says_what_is_not_final_and_unknown_is_no_zero(gate: Gate) -> None:
    await gate.send(
        keyed(
            attempt("plain", tokens=10),
            marked("est", tokens=10, source="char_estimate", complete=False, requests=3),
            one_sided("in", "input", tokens=5, served_model="embedder"),
        )
    )
    cut_off = await draw_cut_off(gate.connection, "test")
    grouping = Grouping(USAGE, ("model",), SINCE, UNTIL, cut_off)
    rows, _ = await grouping.page(gate.connection, 10)
    shown = {row["model"]: row for row in rows}
    assert shown["embedder"]["input_tokens"] == 5
    assert shown["embedder"]["output_tokens"] is None
    assert shown["embedder"]["visible"] is None
    assert shown["llama"]["output_tokens"] == 40
    assert {name: shown["llama"][name] for name in MARKS} == {
        "estimated": 3,
        "incomplete": 3,
        **dict.fromkeys(list(MARKS)[2:], 0),
    }
    totals = Totals(grouping.report)
    async with gate.connection.transaction():
        async for page in grouping.pages(gate.connection):
            totals.add(page)
        text = b"".join([part async for part in grouping.csv(gate.connection, raw=False)])
    assert totals.said()[0]["output_unknown"] == 1
    assert b"embedder,1," in text
    (line,) = [
        each for each in csv.DictReader(text.decode().splitlines()) if each["model"] == "embedder"
    ]
    assert (line["input_tokens"], line["output_tokens"]) == ("5", "")


async def test_status_says_how_much_is_not_final_and_names_a_source_of_refusals(
    gate: Gate,
) -> None:
    refused = [attempt(f"r{n}") | {"source": "/only/refused", "time": None} for n in range(3)]
    await gate.send(
        keyed(marked("est", source="char_estimate", complete=False)),
        keyed(*refused),
        Record(b"{nothing"),
    )
    cut_off = await draw_cut_off(gate.connection, "test")
    status = await read_status(gate.connection, stages=(), cut_off=cut_off, now=NOW)
    assert status.usage == {"requests": 1} | dict.fromkeys(MARKS, 0) | {
        "estimated": 1,
        "incomplete": 1,
    }
    found = {row.source: row for row in status.sources}
    assert (found["/only/refused"].received, found["/only/refused"].quarantined) == (3, 3)
    assert found["/only/refused"].last_received_at == NOW
    assert found[""].quarantined == 1


async def test_what_hides_in_another_leaf_is_unknown_and_not_none_of_it(gate: Gate) -> None:
    silent = {"input": {"uncached": 50}, "output": {"visible": 5}}
    ready = {
        "input": {"cache_read": 0, "cache_write_5m": 0, "uncached": 50},
        "output": {"visible": 5},
    }
    await gate.send(
        keyed(
            attempt("a", served_model="silent", usage=silent),
            attempt("b", served_model="ready", usage=ready),
            attempt("c", served_model="both", usage=silent),
            attempt("d", served_model="both"),
            one_sided("e", "output", served_model="no input"),
            attempt("f", served_model="nothing", usage={"input": {"uncached": 0}}),
        )
    )
    cut_off = await draw_cut_off(gate.connection, "test")
    rows, _ = await Grouping(USAGE, ("model",), SINCE, UNTIL, cut_off).page(gate.connection, 10)
    names = ("input_tokens", "uncached", "cache_read", "cache_write", "output_tokens", "reasoning")
    assert {row["model"]: tuple(row[name] for name in names) for row in rows} == {
        "silent": (50, 50, None, None, 5, None),
        "ready": (50, 50, 0, 0, 5, None),
        # Of those that said it there were none; how many did not say stands beside.
        "both": (60, 60, 0, 0, 25, 0),
        "no input": (None, None, None, None, 20, 0),
        "nothing": (0, 0, 0, 0, None, None),
    }
    report = await margin_report(
        gate.connection,
        entity_id="factory",
        since=SINCE,
        until=UNTIL,
        cut_off=cut_off,
        by=("model",),
        without=("cost",),
    )
    found = margin_json.to_json(report)
    assert {
        row["model"]: (
            *(row["input_tokens"], row["input_uncached"], row["input_cache_read"]),
            *(row["input_cache_write"], row["output_tokens"]),
        )
        for row in found["items"]
    } == {row["model"]: tuple(row[name] for name in names[:5]) for row in rows}
    headers, table = margin_text.to_table(report)
    cached = {row[0]: row[headers.index("cached")] for row in table}
    assert cached == {
        **{"silent": "unknown", "no input": "unknown"},
        **dict.fromkeys(("ready", "both", "nothing", "total"), "0"),
    }
    (both,) = (row for row in rows if row["model"] == "both")
    assert [both[name] for name in list(MARKS)[4:]] == [1, 1, 1]
    assert await marks(gate.connection, FROM_MARKS) == await marks(gate.connection, FROM_FACTS)
