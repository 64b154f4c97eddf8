"""A spooled batch is sent under one number for ever: nothing is lost, nothing is doubled."""

import errno
import logging
import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.errors import SpoolError
from collectors.spool import Spool, SpoolLimits
from ledger.wire.batch import Batch
from ledger.wire.ndjson import decode_line, iter_lines
from tests.support.examples import at_depth


def open_spool(folder: Path, *, new_epoch: int = 77, limits: SpoolLimits | None = None) -> Spool:
    return Spool(folder, source="/s", producer="p", new_epoch=new_epoch, limits=limits)


def event(number: int) -> dict[str, Any]:
    return {"specversion": "1.0", "type": "t", "data": {"n": number}}


def numbers(batches: list[Batch]) -> list[int]:
    return [decode_line(line)["data"]["n"] for batch in batches for line in iter_lines(batch.body)]


def sequences(batches: list[Batch]) -> list[int]:
    return [batch.header.sequence for batch in batches]


def test_what_was_spooled_is_there_after_a_restart_under_the_same_numbers(tmp_path: Path) -> None:
    with open_spool(tmp_path) as spool:
        for number in range(3):
            spool.append([event(number)])
        before = spool.waiting(10)
    with open_spool(tmp_path, new_epoch=78) as spool:
        assert spool.waiting(10) == before
        assert sequences(before) == [1, 2, 3]
        assert {batch.header.epoch for batch in before} == {77}


def test_confirmed_batches_are_forgotten_and_numbers_go_on(tmp_path: Path) -> None:
    with open_spool(tmp_path) as spool:
        spool.append([event(0)])
        spool.append([event(1)])
        spool.acknowledge(1)
        assert numbers(spool.waiting(10)) == [1]
        spool.acknowledge(2)
        spool.acknowledge(1)
    with open_spool(tmp_path) as spool:
        assert list(tmp_path.glob("*.seg")) == []
        spool.append([event(2)])
        assert sequences(spool.waiting(10)) == [3]


def test_a_new_directory_is_a_new_epoch(tmp_path: Path) -> None:
    with (
        open_spool(tmp_path / "a", new_epoch=1) as one,
        open_spool(tmp_path / "b", new_epoch=2) as two,
    ):
        one.append([event(0)])
        two.append([event(0)])
        assert one.waiting(1)[0].header.epoch != two.waiting(1)[0].header.epoch


def test_no_events_make_no_batch(tmp_path: Path) -> None:
    with open_spool(tmp_path) as spool:
        assert spool.append([]) == 0
        assert spool.state().last_sequence == 0


def test_a_large_append_becomes_several_batches_under_the_limit(tmp_path: Path) -> None:
    with open_spool(tmp_path, limits=SpoolLimits(batch_bytes=300)) as spool:
        assert spool.append(event(number) for number in range(20)) > 1
        batches = spool.waiting(100)
        assert numbers(batches) == list(range(20))
        assert max(len(batch.body) for batch in batches) <= 300


def test_a_crash_at_any_byte_loses_nothing_confirmed_and_doubles_nothing(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    ends: list[int] = []
    with open_spool(whole) as spool:
        for number in range(3):
            spool.append([event(number)])
            ends.append(sum(path.stat().st_size for path in whole.glob("*.seg")))
    (segment,) = whole.glob("*.seg")
    for cut in range(ends[-1] + 1):
        survivors = sum(1 for end in ends if end <= cut)
        copy = tmp_path / "copy"
        shutil.copytree(whole, copy)
        with (copy / segment.name).open("r+b") as file:
            file.truncate(cut)
        # A batch is written before its number is.
        (copy / "highest").unlink()
        with open_spool(copy) as spool:
            assert numbers(spool.waiting(10)) == list(range(survivors)), cut
            spool.append([event(9)])
            assert sequences(spool.waiting(10)) == list(range(1, survivors + 2)), cut
        with open_spool(copy) as spool:
            assert numbers(spool.waiting(10)) == [*range(survivors), 9], cut
        shutil.rmtree(copy)


@settings(max_examples=at_depth(60))
@given(st.data())
def test_any_changed_byte_is_noticed_and_never_sent_as_something_else(
    tmp_path: Path, data: st.DataObject
) -> None:
    shutil.rmtree(tmp_path)
    with open_spool(tmp_path) as spool:
        for number in range(3):
            spool.append([event(number)])
        original = spool.waiting(10)
    (segment,) = tmp_path.glob("*.seg")
    content = bytearray(segment.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    segment.write_bytes(content)
    with open_spool(tmp_path) as spool:
        kept = spool.waiting(10)
        (lost,) = [batch.header.sequence for batch in original if batch not in kept]
        assert spool.state().dropped_batches == 1
        spool.append([event(9)])
        assert sequences(spool.waiting(10)) == sorted({1, 2, 3, 4} - {lost}), "used again"
    assert kept == [batch for batch in original if batch.header.sequence != lost]


def test_a_record_that_is_damaged_while_it_waits_is_named_and_holds_up_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_spool(tmp_path) as spool:
        for number in range(3):
            spool.append([event(number)])
        (segment,) = tmp_path.glob("*.seg")
        content = bytearray(segment.read_bytes())
        content[len(content) // 2] ^= 1
        segment.write_bytes(content)
        assert numbers(spool.waiting(10)) == [0, 2]
        assert (spool.state().waiting_batches, spool.state().dropped_batches) == (2, 1)
    assert "batches 2 to 2 are lost" in caplog.text


@pytest.mark.parametrize("confirmed", [0, 1, 4, 5])
@pytest.mark.parametrize("gone", ["all", "first", "last"])
def test_numbers_of_segments_that_are_gone_are_named_and_never_used_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, confirmed: int, gone: str
) -> None:
    small = SpoolLimits(segment_bytes=1)
    with open_spool(tmp_path, limits=small) as spool:
        for number in range(5):
            spool.append([event(number)])
        spool.acknowledge(confirmed)
    segments = sorted(tmp_path.glob("*.seg"))
    removed = {"all": segments, "first": segments[:1], "last": segments[-1:]}[gone]
    lost = [number for path in removed if (number := int(path.stem)) > confirmed]
    for path in removed:
        path.unlink()
    with open_spool(tmp_path, limits=small) as spool:
        assert spool.state().dropped_batches == len(lost)
        spool.append([event(9)])
        kept = [n for n in range(confirmed + 1, 6) if n not in lost]
        assert sequences(spool.waiting(10)) == [*kept, 6]
    for number in lost:
        assert any(f"batches {first} to" in caplog.text for first in range(1, number + 1))


Steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4)),
        st.tuples(st.just("ack"), st.integers(0, 20)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=at_depth(40))
@given(Steps)
def test_any_course_of_appends_confirmations_and_restarts_keeps_the_queue(
    tmp_path: Path, steps: list[tuple[str, int]]
) -> None:
    shutil.rmtree(tmp_path)
    limits = SpoolLimits(segment_bytes=400)
    spool = open_spool(tmp_path, limits=limits)
    expected: list[tuple[int, int]] = []
    last = 0
    for step, amount in steps:
        if step == "append":
            spool.append(event(last) for _ in range(amount))
            last += 1
            expected += [(last, last - 1)] * amount
        elif step == "ack" and amount <= last:
            spool.acknowledge(amount)
            expected = [pair for pair in expected if pair[0] > amount]
        elif step == "restart":
            spool.close()
            spool = open_spool(tmp_path, limits=limits)
        found = [(b.header.sequence, n) for b in spool.waiting(99) for n in numbers([b])]
        assert found == expected
    spool.close()


def test_over_its_size_the_oldest_go_with_a_loud_gap(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = SpoolLimits(spool_bytes=4_000, segment_bytes=1_000)
    with caplog.at_level(logging.ERROR), open_spool(tmp_path, limits=limits) as spool:
        for number in range(60):
            spool.append([event(number)])
        state = spool.state()
        kept = spool.waiting(100)
    assert state.dropped_batches == 60 - len(kept) > 0
    assert sequences(kept) == list(range(state.dropped_batches + 1, 61)), "a gap, no renumbering"
    assert "dropped batches 1 to" in caplog.text


def test_a_second_collector_is_kept_out(tmp_path: Path) -> None:
    with open_spool(tmp_path), pytest.raises(SpoolError, match="in use"):
        open_spool(tmp_path)


def test_a_place_that_cannot_hold_a_spool_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="name a folder"):
        open_spool(tmp_path / "file" / "spool")


def test_a_directory_keeps_the_names_it_was_made_for(tmp_path: Path) -> None:
    open_spool(tmp_path).close()
    with pytest.raises(SpoolError, match="belongs to source /s"):
        Spool(tmp_path, source="/other", producer="p", new_epoch=1)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"source":"/s","producer":"p","epoch":"x"}'])
def test_a_damaged_identity_is_refused_and_not_made_anew(tmp_path: Path, content: str) -> None:
    open_spool(tmp_path).close()
    (tmp_path / "identity.json").write_text(content, encoding="utf-8")
    with pytest.raises(SpoolError, match="move"):
        open_spool(tmp_path)


def test_a_batch_never_spooled_cannot_be_confirmed(tmp_path: Path) -> None:
    with open_spool(tmp_path) as spool, pytest.raises(SpoolError, match="never spooled"):
        spool.acknowledge(1)


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Make the kernel refuse to grow any file past `size`, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_fills_up_keeps_what_was_there_and_numbers_stay_whole(tmp_path: Path) -> None:
    with open_spool(tmp_path) as spool:
        spool.append([event(0)])
        (segment,) = tmp_path.glob("*.seg")
        limit = files_limited_to(segment.stat().st_size + 20)
        with limit, pytest.raises(SpoolError, match=str(errno.EFBIG)):
            spool.append([event(1)])
        assert numbers(spool.waiting(10)) == [0]
        spool.append([event(2)])
        assert sequences(spool.waiting(10)) == [1, 2]
    with open_spool(tmp_path) as spool:
        assert numbers(spool.waiting(10)) == [0, 2]


def test_lost_segments_are_a_named_gap_and_their_numbers_are_not_used_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_spool(tmp_path) as spool:
        for number in range(4):
            spool.append([event(number)])
        spool.acknowledge(1)
    for segment in tmp_path.glob("*.seg"):
        segment.unlink()
    for number in (5, 6):
        with open_spool(tmp_path) as spool:
            assert "batches 2 to 4 are lost" in caplog.text
            spool.append([event(number)])
            assert sequences(spool.waiting(10)) == list(range(5, number + 1))
        # One of the two places that know the number is enough.
        (tmp_path / "highest").write_text("damaged")


@pytest.mark.parametrize("name", ["acked", "highest", "identity.json"])
def test_a_flipped_digit_is_no_other_number(tmp_path: Path, name: str) -> None:
    with open_spool(tmp_path) as spool:
        for number in range(3):
            spool.append([event(number)])
        spool.acknowledge(1)
    text = (tmp_path / name).read_text()
    (tmp_path / name).write_text(text.replace("77" if name == "identity.json" else text[0], "9", 1))
    if name == "identity.json":
        with pytest.raises(SpoolError, match="checksum"):
            open_spool(tmp_path)
        return
    with open_spool(tmp_path) as spool:
        spool.append([event(3)])
        assert sequences(spool.waiting(10))[-3:] == [2, 3, 4]
