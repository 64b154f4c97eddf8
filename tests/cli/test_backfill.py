"""Requests of the past: a published trace to the last token, and files as they come in practice."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_line import CommandLine

AZURE = (
    *("--map", "input=ContextTokens", "--map", "output=GeneratedTokens"),
    *("--map", "time=TIMESTAMP", "--set", "customer=acme", "--set", "model=gpt-x"),
)
LOG = (
    *("--map", "time=at", "--map", "input=in", "--map", "output=out"),
    *("--set", "customer=acme", "--set", "model=gpt-x"),
)
HEAD = "at,in,out\n"
LINES = [
    "2024-03-01T10:00:00Z,100,10",
    "2024-03-01T10:00:00Z,100,10",
    "2024-03-01T10:20:00Z,200,20",
]


@pytest.fixture
def factory(command: CommandLine, tmp_path: Path) -> CommandLine:
    command.enter_factory(tmp_path)
    return command


def log(folder: Path, lines: list[str], name: str = "log.csv") -> Path:
    path = folder / name
    path.write_text(HEAD + "".join(f"{line}\n" for line in lines))
    return path


def usage(command: CommandLine, *more: object) -> dict[str, Any]:
    period = ("--from", "2023-01-01", "--to", "2025-01-01")
    report: dict[str, Any] = command.json("report", "usage", *period, *more)
    return report


def totals(command: CommandLine) -> tuple[int, int, int]:
    total = usage(command)["total"]
    return (total["requests"], total["input_tokens"], total["output_tokens"])


def test_published_trace_is_loaded_to_the_last_token_and_once(
    factory: CommandLine, shared_data: Path
) -> None:
    path = shared_data / "traces" / "azure_llm_2023_code.csv.gz"
    done = factory.json("backfill", path, *AZURE)
    assert (done["source"], done["rows"], done["created"]) == (path.name, 8_819, 8_819)
    assert totals(factory) == (8_819, 18_059_974, 245_896)
    hours = [
        (row["hour"][11:13], row["requests"], row["input_tokens"], row["output_tokens"])
        for row in usage(factory, "--by", "hour")["items"]
    ]
    assert hours == [("18", 7_717, 15_710_990, 213_958), ("19", 1_102, 2_348_984, 31_938)]
    again = factory("backfill", path, *AZURE)
    assert "Nothing changed: every row was there already." in again.stdout
    assert totals(factory) == (8_819, 18_059_974, 245_896)
    assert "all equal" in factory("check").stdout


def test_equal_rows_stay_two_facts_and_an_appended_file_adds_its_new_lines(
    factory: CommandLine, tmp_path: Path
) -> None:
    assert factory.json("backfill", log(tmp_path, LINES), *LOG)["created"] == 3
    assert totals(factory) == (3, 400, 40)
    more = log(tmp_path, [*LINES, "2024-03-01T10:40:00Z,7,1"])
    done = factory.json("backfill", more, *LOG)
    assert (done["created"], done["duplicate"]) == (1, 3)
    assert totals(factory) == (4, 407, 41)


def test_changed_line_is_a_conflict_until_it_is_meant(factory: CommandLine, tmp_path: Path) -> None:
    factory("backfill", log(tmp_path, LINES), *LOG)
    changed = log(tmp_path, [LINES[0], "2024-03-01T10:00:00Z,150,10", LINES[2]])
    refused = factory("backfill", changed, *LOG, status=1)
    assert "Other content is recorded under the numbers of 1 line of log.csv." in refused.stderr
    assert "line 3: conflict" in refused.stderr
    assert totals(factory) == (3, 400, 40)
    meant = factory.json("backfill", changed, *LOG, "--correct")
    assert (meant["corrected"], meant["duplicate"], meant["conflict"]) == (1, 2, 0)
    assert totals(factory) == (3, 450, 40)
    for again in (("--correct",), ()):
        done = factory.json("backfill", changed, *LOG, *again)
        assert done["duplicate"] == 3
    assert totals(factory) == (3, 450, 40)


def test_correction_can_be_taken_back(factory: CommandLine, tmp_path: Path) -> None:
    factory("backfill", log(tmp_path, LINES), *LOG)
    changed = [LINES[0], "2024-03-01T10:00:00Z,150,10", LINES[2]]
    for _ in range(2):
        factory("backfill", log(tmp_path, changed), *LOG, "--correct")
        assert totals(factory) == (3, 450, 40)
        factory("backfill", log(tmp_path, LINES), *LOG, "--correct")
        assert totals(factory) == (3, 400, 40)
    assert "all equal" in factory("check").stdout


def test_other_zone_or_map_under_the_same_name_is_a_conflict(
    factory: CommandLine, tmp_path: Path
) -> None:
    path = log(tmp_path, ["2024-07-01 10:00:00,100,10"])
    factory("backfill", path, *LOG)
    factory("backfill", path, *LOG, "--tz", "Europe/Copenhagen", status=1)
    own = ("--source", "other", "--again")
    factory("backfill", path, *LOG, "--tz", "Europe/Copenhagen", *own)
    hours = [row["hour"][:16] for row in usage(factory, "--by", "hour")["items"]]
    assert hours == ["2024-07-01T08:00", "2024-07-01T10:00"]


def test_local_times_that_nobody_named_are_told_and_can_be_corrected(
    factory: CommandLine, tmp_path: Path
) -> None:
    path = log(tmp_path, ["2024-07-01T00:30:00,100,10", "2024-07-01T12:00:00,200,20"])
    assert "read as UTC" in factory("backfill", path, *LOG).stderr
    named = (*LOG, "--tz", "Europe/Copenhagen", "--correct")
    corrected = factory("backfill", path, *named)
    assert "read as UTC" not in corrected.stderr
    days = usage(factory, "--by", "day")["items"]
    assert [(row["requests"], row["input_tokens"]) for row in days] == [(2, 300)]
    hours = usage(factory, "--by", "hour")["items"]
    assert [row["hour"][:13] for row in hours] == ["2024-06-30T22", "2024-07-01T10"]
    zoned = log(tmp_path, ["2024-07-02T00:30:00+02:00,100,10"], "zoned.csv")
    assert factory.json("backfill", zoned, *LOG)["taken_as_utc"] is False


def test_bad_rows_cost_only_themselves_and_are_named(factory: CommandLine, tmp_path: Path) -> None:
    bad = ["2024-03-01T10:00:00Z,-5,10", "yesterday,1,1", "2024-03-01T10:00:00Z,,"]
    path = log(tmp_path, [LINES[0], *bad, "2024-03-01T10:00:00.1234567Z,1,1"])
    refused = factory("backfill", path, *LOG, status=1)
    for number in (3, 4, 5):
        assert f"line {number}: rejected" in refused.stderr
    assert totals(factory) == (2, 101, 11)
    assert len(factory.items("quarantine", "list")) == 3


def test_dry_run_says_what_would_happen_and_writes_nothing(
    factory: CommandLine, tmp_path: Path
) -> None:
    done = factory.json("backfill", log(tmp_path, LINES), *LOG, "--dry-run")
    assert (done["dry_run"], done["created"]) == (True, 3)
    assert totals(factory) == (0, 0, 0)
    assert factory.json("status")["sources"] == []
    assert factory.json("backfill", log(tmp_path, LINES), *LOG)["created"] == 3


def test_ndjson_fields_are_reached_by_their_path(factory: CommandLine, tmp_path: Path) -> None:
    rows = [
        {"ts": "2024-03-01T10:00:00Z", "usage": {"prompt": 9, "cached": 4, "completion": 2}},
        {"ts": "2024-03-01T10:00:01Z", "usage": {"prompt": 1, "completion": 1.5}},
    ]
    path = tmp_path / "log.jsonl"
    path.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in rows).encode()))
    mapped = {
        "time": "ts",
        "input": "usage.prompt",
        "cache_read": "usage.cached",
        "output": "usage.completion",
    }
    options = [part for name, at in mapped.items() for part in ("--map", f"{name}={at}")]
    done = factory.json("backfill", path, *options, "--set", "customer=acme", status=1)
    assert (done["created"], done["rejected"]) == (1, 1)
    assert usage(factory)["total"]["cache_read"] == 4
    assert usage(factory)["total"]["uncached"] == 5


@pytest.mark.parametrize("form", ["csv", "ndjson", "array"])
def test_columns_that_are_called_what_they_mean_need_no_map(
    factory: CommandLine, tmp_path: Path, form: str
) -> None:
    rows = [
        {"time": "2024-03-01T10:00:00Z", "input": "7", "output": "1", "model": "m", "note": "x"},
        {"time": "2024-03-01T10:20:00Z", "input": "5", "output": "2", "model": "m", "note": "y"},
    ]
    lines = [json.dumps(row) for row in rows]
    cells = [",".join(row) for row in (rows[0], *(row.values() for row in rows))]
    whole = {"csv": "\n".join(cells), "ndjson": "\n".join(lines), "array": f"[{','.join(lines)}]"}
    path = tmp_path / "log"
    path.write_text(whole[form])
    # What is said of every row is said, whatever a column of its name has.
    done = factory.json("backfill", path, "--set", "customer=acme", "--set", "model=gpt-x")
    assert done["created"] == 2
    (row,) = usage(factory, "--by", "model")["items"]
    assert (row["model"], row["input_tokens"], row["output_tokens"]) == ("gpt-x", 12, 3)


def test_a_json_array_is_read_like_its_lines(factory: CommandLine, tmp_path: Path) -> None:
    rows = [{"at": "2024-03-01T10:00:00Z", "in": 100, "out": 7}, {"at": "no", "in": 1, "out": 1}]
    path = tmp_path / "log.json"
    for body in (json.dumps(rows, indent=2).encode(), gzip.compress(json.dumps(rows).encode())):
        path.write_bytes(body)
        done = factory.json("backfill", path, *LOG, "--again", status=1)
        assert done["rejected"] == 1 or done["duplicate"] == 2
    assert usage(factory)["total"]["uncached"] == 100
    path.write_text('[{"at": "2024-03-01T10:00:00Z"}, 5]')
    assert "Item 2 of log.json is no object" in factory.refusal("backfill", path, *LOG)


def test_one_is_one(factory: CommandLine, tmp_path: Path) -> None:
    path = log(tmp_path, ["2024-03-01T10:00:00Z,1,1"])
    assert "log.csv: 1 row, nothing" in factory("backfill", path, *LOG, "--dry-run").stdout
    path.write_text(HEAD + "no,1,1\n")
    said = factory("backfill", path, *LOG, status=1).stderr
    assert "error: 1 line could not be read" in said


def test_customer_nobody_knows_goes_to_suspense(factory: CommandLine, tmp_path: Path) -> None:
    options = ("--map", "time=at", "--map", "input=in", "--set", "customer=walk-in")
    done = factory.json("backfill", log(tmp_path, LINES), *options)
    assert done["suspense"] == 3
    (waiting,) = factory.items("suspense", "list")
    assert (waiting["customer_ref"], waiting["input_tokens"]) == ("walk-in", 400)
    assert "3 requests of unknown customers: walk-in" in factory("status").stdout


def test_files_that_cannot_be_read_are_said_in_one_line(
    factory: CommandLine, tmp_path: Path
) -> None:
    path = log(tmp_path, LINES)
    said = factory.refusal("backfill", path, "--map", "time=when", *LOG[2:])
    assert "log.csv has no column when. It has at, in, out." in said
    path.write_text(HEAD + "2024-03-01T10:00:00Z,1\n")
    assert "line 2 has 2 cells, its header 3" in factory.refusal("backfill", path, *LOG)
    path.write_bytes(gzip.compress(HEAD.encode() * 5000)[:-30])
    assert "broken gzip" in factory.refusal("backfill", path, *LOG)
    path.write_text("")
    assert "is empty" in factory.refusal("backfill", path, *LOG)
    said = factory.refusal("backfill", path, "--map", "time=at")
    assert said == (
        "Nothing says how many tokens it used. (at tokens)"
        " Give --map input=COLUMN or --set input=VALUE."
    )
    assert "called 'promt'" in factory.refusal("backfill", path, "--map", "promt=in")


def test_suspense_is_released_once_the_customer_is_known(
    factory: CommandLine, tmp_path: Path
) -> None:
    options = ("--map", "time=at", "--map", "input=in", "--set", "customer=walk-in")
    factory("backfill", log(tmp_path, LINES), *options)
    assert "Nothing was released" in factory("suspense", "release", "walk-in").stdout
    path = tmp_path / "customers.csv"
    path.write_text("customer_id,entity_id,name\nwalk-in,factory,Walk-in\n")
    factory("import", "customers", path)
    assert factory.json("suspense", "release", "walk-in") == {"released": 3}
    assert factory.items("suspense", "list") == []
    assert usage(factory, "--customer", "walk-in")["total"]["input_tokens"] == 400
    assert "all equal" in factory("check").stdout


def test_quarantined_row_is_shown_and_refused_again_while_nothing_changed(
    factory: CommandLine, tmp_path: Path
) -> None:
    factory("backfill", log(tmp_path, ["2024-03-01T10:00:00Z,-5,10"]), *LOG, status=1)
    (waiting,) = factory.items("quarantine", "list")
    shown = json.loads(factory("quarantine", "show", waiting["quarantine_id"]).stdout)
    assert shown["data"]["usage"]["input_total"] == -5
    (replayed,) = factory.items("quarantine", "replay", "--all")
    assert replayed["outcome"] == "rejected"
    assert "no bytes of quarantined event 999" in factory.refusal("quarantine", "show", 999)
    factory("quarantine", "replay", status=2)


def test_the_same_bytes_under_a_second_name_are_refused_unless_meant(
    factory: CommandLine, tmp_path: Path
) -> None:
    first, second = log(tmp_path, LINES), log(tmp_path, LINES, name="copy.csv")
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(first.read_bytes()))
    assert factory.json("backfill", first, *LOG)["created"] == 3
    for path in (second, packed):
        for dry in ((), ("--dry-run",)):
            said = factory.refusal("backfill", path, *LOG, *dry)
            assert said.startswith("The same bytes were loaded as log.csv on ")
            assert said.endswith("say --source log.csv; if they are meant once more say --again.")
    assert totals(factory)[0] == 3
    assert factory.json("backfill", second, *LOG, "--source", "log.csv")["duplicate"] == 3
    assert factory.json("backfill", first, *LOG)["duplicate"] == 3
    assert factory.json("backfill", second, *LOG, "--again")["created"] == 3
    assert totals(factory)[0] == 6
    # One line more is another file.
    longer = log(tmp_path, [*LINES, LINES[0]], name="longer.csv")
    assert factory.json("backfill", longer, *LOG)["created"] == 4


def test_a_file_that_was_not_read_is_not_known(factory: CommandLine, tmp_path: Path) -> None:
    path = log(tmp_path, LINES)
    factory.refusal("backfill", path, "--map", "time=when", *LOG[2:])
    factory("backfill", path, *LOG, "--dry-run")
    other = log(tmp_path, LINES, name="other.csv")
    assert factory.json("backfill", other, *LOG)["created"] == 3


def test_local_times_that_are_none_or_two_say_the_way_out(
    factory: CommandLine, tmp_path: Path
) -> None:
    twice, never = "2024-10-27 02:30:00,100,10", "2024-03-31 02:30:00,100,10"
    path = log(tmp_path, [twice, never, "2024-10-27 03:30:00,100,10"])
    zoned = (*LOG, "--tz", "Europe/Copenhagen")
    said = factory("backfill", path, *zoned, "--dry-run", status=1).stderr
    offsets = "map a column of times with offsets"
    repeated = (
        "time: local time 2024-10-27 02:30:00 exists twice in Europe/Copenhagen;"
        f" say --fold first or --fold second, or {offsets}"
    )
    skipped = (
        "time: local time 2024-03-31 02:30:00 does not exist in Europe/Copenhagen, whose clocks"
        f" skipped it; look at --tz, or {offsets}"
    )
    assert repeated in said
    assert skipped in said
    # What waits says the same as what was printed.
    factory("backfill", path, *zoned, status=1)
    listed = factory.items("quarantine", "list")
    assert {row["detail"] for row in listed} == {repeated, skipped}
    for fold, hour in (("first", "00"), ("second", "01")):
        again = log(tmp_path, [twice], name=f"{fold}.csv")
        asked = (*zoned, "--fold", fold, "--again")
        assert (
            skipped
            in factory(
                "backfill", log(tmp_path, [never], name=f"n{fold}.csv"), *asked, status=1
            ).stderr
        )
        assert factory.json("backfill", again, *asked)["created"] == 1
        rows = usage(factory, "--by", "window")["items"]
        assert f"2024-10-27T{hour}:30:00.000000Z" in [row["window"] for row in rows]
