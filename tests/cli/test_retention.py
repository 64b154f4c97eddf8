"""`tokenledger fold` and `tokenledger archive`, as an operator runs them."""

import asyncio
from pathlib import Path

import polars as pl
import pytest

from tests.cli.command_line import CommandLine
from tests.cli.stored import fill
from tests.support.objects import Bucket


@pytest.fixture
def filled(command: CommandLine) -> CommandLine:
    asyncio.run(fill(command.database.worker_url))
    return command


def test_fold_merges_and_says_how_much(filled: CommandLine) -> None:
    done = filled.json("fold")
    assert (done["windows"], done["rows_gone"], done["rows_come"]) == (1, 12, 3)
    assert filled("fold").stdout == "0 windows looked at: 0 rows became 0.\n"
    assert filled("fold", "--all").stdout == "1 window looked at: 0 rows became 0.\n"


def test_merge_says_which_days_and_how_much(filled: CommandLine) -> None:
    waits = filled.json("status")["unmerged"]
    assert waits == {"days": 1, "first_day": "2026-08-06"}
    assert "Unmerged: facts of 1 day, the first 2026-08-06" in filled("status").stdout
    done = filled.json("merge")
    assert done == {
        "merged": [{"stored_day": "2026-08-06", "facts": 4, "chunks": 1}],
        "kept": [],
    }
    assert filled("merge", "--all").stdout == "Nothing to merge.\n"
    assert filled.json("status")["unmerged"] == {"days": 0, "first_day": None}


def test_archive_moves_days_and_says_where(filled: CommandLine, tmp_path: Path) -> None:
    done = filled.json("archive", "--before", "2026-08-07", "--to", tmp_path)
    assert done["kept"] == []
    (day,) = done["archived"]
    assert (day["stored_day"], day["rows"]) == ("2026-08-06", 4)
    assert pl.read_parquet(day["path"], hive_partitioning=False).height == 4
    shown = filled("archive", "--before", "2026-08-07", "--to", tmp_path).stdout
    assert shown == "0 days archived, 0 stay.\n"


def test_archive_shows_each_file(filled: CommandLine, tmp_path: Path) -> None:
    shown = filled("archive", "--before", "2026-08-07", "--to", tmp_path).stdout
    assert "2026-08-06" in shown
    assert shown.endswith("1 day archived, 0 stay.\n")


def test_archive_describes_its_days_as_tables_of_iceberg(
    filled: CommandLine, tmp_path: Path
) -> None:
    given = ("archive", "--before", "2026-08-07", "--to", tmp_path)
    filled(*given)
    shown = filled(*given, "--iceberg").stdout
    assert "usage_fact" in shown
    assert shown.endswith("0 days archived, 0 stay.\n")
    (table,) = filled.json(*given, "--iceberg")["iceberg"].items()
    assert table[0] == "usage_fact"
    assert Path(table[1]).is_file()


def test_archive_by_age_leaves_younger_days(filled: CommandLine, tmp_path: Path) -> None:
    assert filled.json("archive", "--days", "100000", "--to", tmp_path)["archived"] == []


@pytest.mark.parametrize("given", [(), ("--before", "2026-08-07", "--days", "3")])
def test_archive_wants_one_way_to_name_days(
    filled: CommandLine, tmp_path: Path, given: tuple[str, ...]
) -> None:
    refused = filled.refusal("archive", *given, "--to", tmp_path)
    assert "--before DATE or --days N" in refused


def test_archive_refuses_the_future_and_a_file_as_folder(
    filled: CommandLine, tmp_path: Path
) -> None:
    assert "not over" in filled.refusal("archive", "--before", "2999-01-01", "--to", tmp_path)
    (tmp_path / "file").write_text("")
    refused = filled.refusal("archive", "--before", "2026-08-07", "--to", tmp_path / "file")
    assert "cannot be written" in refused


@pytest.mark.parametrize(
    "given",
    [("--before", "yesterday"), ("--days", "0"), ("--days", "-1"), ("--days", "many")],
)
def test_archive_refuses_what_is_no_day(
    filled: CommandLine, tmp_path: Path, given: tuple[str, str]
) -> None:
    filled("archive", *given, "--to", tmp_path, status=2)


def test_archive_moves_days_to_an_object_store(filled: CommandLine, bucket: Bucket) -> None:
    (day,) = filled.json("archive", "--before", "2026-08-07", "--to", bucket.url)["archived"]
    assert day["path"] == f"{bucket.url}/usage_fact/stored_day=2026-08-06/part.parquet"
    assert filled.json("check")["differing"] == 0
    refused = filled.refusal("archive", "--before", "2026-08-07", "--to", "ftp://host/books")
    assert refused.startswith("ftp://host/books is no folder, and no object store")


def test_archive_needs_a_directory(filled: CommandLine) -> None:
    filled("archive", "--before", "2026-08-07", status=2)
