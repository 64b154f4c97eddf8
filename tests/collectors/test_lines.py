"""A reading's line is what its event encodes to, however it is made; what fits nowhere is named."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.lines import LineWriter
from collectors.reading import (
    AnyReading,
    CounterReading,
    CountersReading,
    GpuEnergyReading,
    MeterGapReading,
)
from ledger.wire.ndjson import encode_bare

NOW = datetime(2026, 8, 1, tzinfo=UTC)
READING = GpuEnergyReading(gpu_uuid="GPU-a", epoch="e", energy_mj=1, sampled_at=NOW)
counts = st.integers(0, 2**64)
times = st.datetimes(timezones=st.just(UTC))
# Names that have the signs of a format, of JSON, and of what stands in its place.
names = st.text(max_size=12) | st.sampled_from(
    [
        "%",
        "%(energy_mj)s",
        '"',
        "{0}",
        "7000000000000000001",
        "8000000000000000001",
        "0001-01-01T00:00:00.000001Z",
    ]
)
readings = st.builds(
    GpuEnergyReading,
    gpu_uuid=st.sampled_from(["GPU-a", "GPU-b"]) | names,
    epoch=names,
    energy_mj=counts,
    sampled_at=times,
    power_mw=st.none() | counts,
    method=st.sampled_from(["nvml_counter", "power_integral"]),
    quality=st.sampled_from(["good", "estimated"]),
    scope=st.sampled_from(["gpu", "module"]),
    mig=st.booleans(),
    boot_id=st.none() | names,
    driver_load=st.none() | names,
    monotonic_us=st.none() | counts,
)


@given(st.lists(readings, max_size=8), times)
def test_a_line_is_what_its_event_encodes_to(
    read: list[GpuEnergyReading], recorded_at: datetime
) -> None:
    writer = LineWriter(2**20)
    # The second time each board's form is known.
    for shift in range(2):
        read = [replace(one, energy_mj=one.energy_mj + shift) for one in read]
        assert writer.lines(read, recorded_at) == [
            encode_bare(one.to_event(recorded_at=recorded_at)) for one in read
        ]


counters = st.builds(
    CounterReading,
    name=st.sampled_from(["prompt_tokens", "steps"]) | names,
    value=st.sampled_from(["1", "5.0", "1e+06", "NaN", "%s", '"', "7000000000000000001"]) | names,
    raw_name=st.just("raw"),
    labels=st.dictionaries(names, names, max_size=3),
    precision_loss=st.booleans(),
)
scrapes = st.builds(
    CountersReading,
    engine=names,
    instance=names,
    run_id=names,
    scraped_at=times,
    counters=st.lists(counters, max_size=5).map(tuple),
    run_started_at=st.none() | times,
)


@given(scrapes, st.lists(st.sampled_from(["1", "2.0", "3e+08"]), min_size=5), times)
def test_a_scrape_is_what_its_event_encodes_to_whatever_it_counts(
    read: CountersReading, values: list[str], recorded_at: datetime
) -> None:
    writer = LineWriter(2**20)
    counted = [replace(c, value=v) for c, v in zip(read.counters, values, strict=False)]
    other = [replace(c, precision_loss=not c.precision_loss) for c in counted]
    for found in (read.counters, counted, other, counted[1:], counted):
        one = replace(read, counters=tuple(found))
        assert writer.lines([one], recorded_at) == [
            encode_bare(one.to_event(recorded_at=recorded_at))
        ]


def test_gaps_and_scrapes_stand_among_boards_in_their_order() -> None:
    gap = MeterGapReading(gpu_uuid="GPU-a", reason="gpu_lost", since=NOW, until=NOW)
    counter = CounterReading(name="prompt_tokens", value="5", raw_name="p", labels={"model": "m"})
    scrape = CountersReading(
        engine="vllm", instance="i", run_id="r", scraped_at=NOW, counters=(counter,)
    )
    read: list[AnyReading] = [READING, gap, scrape, READING]
    assert LineWriter(2**20).lines(read, NOW) == [
        encode_bare(one.to_event(recorded_at=NOW)) for one in read
    ]


def test_a_reading_that_fits_no_batch_is_named_and_holds_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    long = replace(READING, epoch="x" * 5_000)
    later = replace(READING, sampled_at=NOW + timedelta(seconds=1))
    with caplog.at_level(logging.ERROR):
        assert len(LineWriter(4096).lines([READING, long, later], NOW)) == 2
    assert "gpu.energy.v1 fits no batch and is left out" in caplog.text
