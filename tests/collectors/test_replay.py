"""A recording is given again exactly, at its own pace or at once, and a broken row is named."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from collectors.errors import SourceError
from collectors.sources.replay import ReplaySource
from ledger.wire.parse import explain

START = datetime(2026, 3, 1, tzinfo=UTC)
CSV = "gpu_uuid,epoch,offset_s,energy_mj\n" + "".join(
    f"GPU-1,e1,{offset},{100 + offset}\n" for offset in range(5)
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def energies(source: ReplaySource, seconds: float) -> list[int]:
    sample = source.sample(START + timedelta(seconds=seconds))
    return [reading.energy_mj for reading in sample.energy]


def test_readings_come_when_they_are_due(tmp_path: Path) -> None:
    source = ReplaySource(write(tmp_path / "r.csv", CSV), start=START)
    assert energies(source, 0) == [100]
    assert energies(source, 2.5) == [101, 102]
    assert energies(source, 2.6) == []
    assert not source.finished
    assert energies(source, 4) == [103, 104]
    assert source.finished


def test_an_offset_of_ndjson_may_be_nothing(tmp_path: Path) -> None:
    rows = (
        {"gpu_uuid": "GPU-1", "epoch": "e1", "offset_s": seconds, "energy_mj": 100 + seconds}
        for seconds in range(2)
    )
    path = write(tmp_path / "r.ndjson", "\n".join(map(json.dumps, rows)))
    source = ReplaySource(path, start=START)
    assert energies(source, 0) == [100]
    assert energies(source, 1) == [101]


def test_a_speed_shortens_the_wait_and_not_the_recorded_times(tmp_path: Path) -> None:
    source = ReplaySource(write(tmp_path / "r.csv", CSV), start=START, speed=Decimal(2))
    sample = source.sample(START + timedelta(seconds=1))
    assert [reading.sampled_at for reading in sample.energy] == [
        START + timedelta(seconds=second) for second in range(3)
    ]


def test_speed_zero_gives_everything_at_once(tmp_path: Path) -> None:
    source = ReplaySource(write(tmp_path / "r.csv", CSV), start=START, speed=Decimal(0))
    assert energies(source, 0) == [100, 101, 102, 103, 104]
    assert source.finished


def test_recorded_times_are_kept_and_ndjson_and_gzip_are_read(tmp_path: Path) -> None:
    rows = [
        {
            "gpu_uuid": "GPU-1",
            "epoch": "e1",
            "sampled_at": f"2025-01-01T00:00:0{second}Z",
            "energy_mj": 5,
            "power_mw": 7,
        }
        for second in range(2)
    ]
    path = tmp_path / "r.ndjson.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    source = ReplaySource(path, start=START)
    (first,) = source.sample(START).energy
    assert first.sampled_at == datetime(2025, 1, 1, tzinfo=UTC)
    assert first.power_mw == 7
    assert explain(first.to_event(recorded_at=START) | {"id": "1.1.0", "source": "/s"}) == ()
    assert [r.energy_mj for r in source.sample(START + timedelta(seconds=1)).energy] == [5]


@pytest.mark.parametrize("row", ["GPU-1,e1,0,1.5", "GPU-1,e1,x,1", "GPU-1,e1,,1", "GPU-1,e1,0,"])
def test_a_broken_row_is_named(tmp_path: Path, row: str) -> None:
    path = write(tmp_path / "r.csv", f"gpu_uuid,epoch,offset_s,energy_mj\n{row}\n")
    with pytest.raises(SourceError, match="row 1"):
        ReplaySource(path, start=START)


def test_a_recording_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        ReplaySource(tmp_path / "nowhere.csv", start=START)
