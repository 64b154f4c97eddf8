"""`tokenledger check`: a line a part where books are true, each difference and status 1 else."""

import asyncio
from pathlib import Path

import pytest

from ledger.commands.review.check import SAYS
from ledger.flows.books.check_books import EVERY
from tests.cli.command_line import CommandLine
from tests.support.charges import on_charges
from tests.support.database import Database, execute

LOG = (
    *("--map", "time=at", "--map", "input=in", "--map", "output=out"),
    *("--set", "customer=acme", "--set", "model=gpt-x"),
)


@pytest.fixture
def factory(command: CommandLine, tmp_path: Path) -> CommandLine:
    command.enter_factory(tmp_path)
    path = tmp_path / "log.csv"
    quarters = "".join(f"2024-03-01T{n // 4:02}:{n % 4 * 15:02}:09Z,7,1\n" for n in range(24))
    path.write_text(f"at,in,out\n{quarters}")
    command("backfill", path, *LOG)
    return command


def change(database: Database, sql: str) -> None:
    """Behind the ledger's back."""
    asyncio.run(execute(database.superuser_url, f"SET session_replication_role = replica; {sql}"))


def test_true_books_are_all_equal_and_said_in_four_lines(factory: CommandLine) -> None:
    first, states, books, chain = factory("check").stdout.splitlines()
    assert first.startswith("24 facts added up in ")
    compared = "24 usage windows, 24 activity windows, 24 busy masks, 24 marked windows"
    assert first.endswith(f"{compared}: all equal.")
    assert states == "Usage windows by key: 0 rated, 0 unpriced, 0 suspense, 24 not yet rated."
    assert books == "Books: 30 proofs, all equal."
    assert chain == "Chain: nothing is sealed yet."
    told = factory.json("check")
    assert (told["facts"], told["differing"], told["differences"]) == (24, 0, [])
    windows = {"usage_delta": 24, "activity_delta": 24, "activity_mask": 24, "usage_mark": 24}
    assert told["windows"] == windows
    assert told["facts_per_second"] == 24_000 // max(told["milliseconds"], 1)


def test_a_difference_is_named_and_ends_with_status_one(
    factory: CommandLine, database: Database
) -> None:
    change(database, "DELETE FROM usage_delta WHERE window_start = '2024-03-01T01:15Z'")
    first, last, *_ = factory("check", status=1).stdout.splitlines()
    assert first == (
        "usage_delta 2024-03-01 01:15Z acme gpt-x standard: requests: facts 1, stored none,"
        " uncached: facts 7, stored none, visible: facts 1, stored none"
    )
    assert last.endswith("24 busy masks, 24 marked windows: 1 differs.")


def test_a_second_that_differs_is_named(factory: CommandLine, database: Database) -> None:
    change(
        database,
        """UPDATE activity_mask SET mask = set_bit(mask, 11, 1)
            WHERE window_start = '2024-03-01T01:15Z'""",
    )
    (one,) = factory.json("check", status=1)["differences"]
    assert one["counts"] == {"busy_seconds": {"facts": 1, "stored": 2}}
    first = factory("check", status=1).stdout.splitlines()[0]
    assert first.startswith("activity_mask 2024-03-01 01:15Z ")
    assert first.endswith("busy_seconds: facts 1, stored 2, 1 second differs: 11")


def test_twenty_differences_are_shown_and_the_rest_counted(
    factory: CommandLine, database: Database
) -> None:
    fives = "array_fill(5::bigint, ARRAY[cardinality(output)])"
    change(database, f"UPDATE activity SET output = {fives}")
    lines = factory("check", status=1).stdout.splitlines()
    assert [line.split()[0] for line in lines[:20]] == ["activity_delta"] * 20
    assert lines[20] == "and 4 more"
    told = factory.json("check", status=1)
    assert (told["differing"], len(told["differences"])) == (24, 20)


def test_a_charge_that_was_changed_is_named(factory: CommandLine, database: Database) -> None:
    factory("settle")
    change(database, on_charges("UPDATE charge SET quantity = quantity + 1"))
    told = factory.json("check", status=1)
    assert (told["differing"], told["proofs"]["charge"]) == (2, 2)
    first, *_, last, _ = factory("check", status=1).stdout.splitlines()
    assert first == (
        "usage and charges: 2024-02-29 23:00Z acme gpt-x standard input_uncached:"
        " quantity must be 168, is 169"
    )
    assert last == "Books: usage and charges: 2 differ."


def test_every_proof_has_a_name_for_people() -> None:
    assert SAYS.keys() == {*EVERY}


def test_a_head_vouches_for_what_was_stored_until_then(
    factory: CommandLine, database: Database
) -> None:
    head = factory("check", "--head").stdout.strip()
    assert head.startswith("1:")
    assert len(head) == 66
    factory("check", "--verify-head", head)
    said = factory("check", "--verify-head", "1:" + "0" * 64, status=1).stdout.splitlines()
    assert said[0] == f"seal, seal 1: head was {'0' * 64}, is {head[2:]}"
    assert factory("check").stdout.splitlines()[-1].endswith(f"head {head}: all equal.")
    assert "is not a head" in factory.refusal("check", "--verify-head", "1:xyz")
    change(database, "UPDATE receipt SET actor = 'somebody'")
    told = factory.json("check", status=1)
    assert (told["differing"], told["chain"]["differing"]) == (1, 1)
    (one,) = told["differences"]
    assert (one["table"], one["place"]) == ("receipt", one["place"])
    assert one["place"].startswith("seal 1, batches the first to ")
