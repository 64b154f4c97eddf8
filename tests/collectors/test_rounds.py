"""Rounds that are held outlive a kill, become one batch, and never two."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.rounds import FILE, HeldRounds
from collectors.spool import Spool
from ledger.wire.ndjson import decode_line, encode_bare, iter_lines
from tests.support.examples import at_depth


def held(folder: Path, *, next_sequence: int = 1, batch_bytes: int = 4096) -> HeldRounds:
    return HeldRounds(folder, batch_bytes=batch_bytes, next_sequence=next_sequence)


def line(number: int, **more: Any) -> bytes:
    return encode_bare({"type": "t", "data": {"n": number, **more}})


def numbers(rounds: HeldRounds) -> list[int]:
    return [json.loads(line)["data"]["n"] for line in rounds.lines]


def test_rounds_left_by_a_kill_are_held_again_and_become_the_next_batch(tmp_path: Path) -> None:
    with Spool(tmp_path, source="/s", producer="p", new_epoch=1) as spool:
        first = held(tmp_path)
        first.add([line(0), line(1)])
        first.add([line(2)])
        again = held(tmp_path)
        assert numbers(again) == [0, 1, 2]
        again.add([line(3)])
        assert spool.append_lines(again.lines) == 1
        (batch,) = spool.waiting(9)
    events = [decode_line(line) for line in iter_lines(batch.body)]
    assert [one["data"]["n"] for one in events] == [0, 1, 2, 3]
    assert [one["id"] for one in events] == [f"1.1.{n}" for n in range(4)]
    assert {one["source"] for one in events} == {"/s"}


def test_rounds_that_were_spooled_before_the_kill_are_not_spooled_again(tmp_path: Path) -> None:
    held(tmp_path, next_sequence=1).add([line(0)])
    assert numbers(held(tmp_path, next_sequence=2)) == []
    # The number they were held for is over for good.
    assert numbers(held(tmp_path, next_sequence=1)) == []


def test_what_was_cleared_is_gone(tmp_path: Path) -> None:
    rounds = held(tmp_path)
    rounds.add([line(0)])
    rounds.clear(2)
    rounds.add([line(1)])
    assert numbers(held(tmp_path, next_sequence=2)) == [1]


def written(folder: Path, count: int) -> bytes:
    (folder / FILE).unlink(missing_ok=True)
    rounds = held(folder)
    for number in range(count):
        rounds.add([line(number, text="x" * number)])
    return (folder / FILE).read_bytes()


@settings(max_examples=at_depth(60))
@given(st.data())
def test_a_file_torn_or_changed_anywhere_gives_whole_rounds_from_the_first_or_none(
    tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(written(tmp_path, 5))
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    (tmp_path / FILE).write_bytes(content)
    rounds = held(tmp_path)
    found = numbers(rounds)
    assert found == list(range(len(found)))
    assert [len(json.loads(line)["data"]["text"]) for line in rounds.lines] == found


def test_rounds_are_a_batch_once_they_are_as_large_as_one(tmp_path: Path) -> None:
    rounds = held(tmp_path)
    for number in range(4):
        assert not rounds.full
        rounds.add([line(number, text="x" * 1000)])
    assert rounds.full
    assert not rounds.overflows


def test_a_place_that_takes_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="cannot hold rounds"):
        held(tmp_path / "absent")
