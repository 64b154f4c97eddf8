"""Every fault of a board, a driver, a host or a collector: the books against what was truly used.

A script moves the stub library that the real binding loads; each life of a collector is a process.
What it spooled goes over a broker, is ingested and allocated, and is compared with the script's own
energy in mJ.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest

from collectors.delivery import Delivery
from collectors.refused import RefusedEvents
from collectors.settings import KafkaSettings
from collectors.spool import Spool
from collectors.to_kafka import KafkaPublisher
from ledger.flows.cost.allocate import allocate
from ledger.flows.metering.ingest import prepare_storage
from ledger.reports.metering.coverage import coverage_report
from ledger.settings import Settings
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from ledger.stream.consumer import run_worker
from tests.collectors.nvml_stub.play_timeline import Life
from tests.support.books import Books
from tests.support.database import Database
from tests.support.one_gpu import GPU, LATER, at, meters_of
from tests.support.usage import fates
from tests.support.waiting import PATIENCE_S

PLAYER = Path(__file__).parents[1] / "collectors" / "nvml_stub" / "play_timeline.py"
ROOT = Path(__file__).parents[2]
A, B = GPU, "GPU-b"
WATTS = {A: 300_000, B: 650_000}
S = 1_000
MINUTE, HOUR = 60 * S, 3_600 * S


def ticks(since_s: int, until_s: int, every_s: int = 5) -> list[int]:
    """When a collector reads, in ms."""
    return [second * S for second in range(since_s, until_s, every_s)]


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """What happens to board A (B draws its power all the while) and to who reads it.

    `unproven_s` are seconds of its energy that no counter proves, `told` the reasons that reach
    the ledger, `found` what the meter windows say.
    """

    lives: Sequence[Life]
    script: Sequence[tuple[int, str, int]] = ()
    unproven_s: int = 0
    told: frozenset[str] = frozenset()
    found: frozenset[str] = frozenset()
    lost_state: bool = False
    watts: Sequence[tuple[int, int]] = field(default_factory=lambda: [(0, WATTS[A])])


def life(since_s: int, until_s: int, **more: object) -> Life:
    return replace(Life(ticks_ms=ticks(since_s, until_s), folder=""), **more)  # type: ignore[arg-type]


def names(*reasons: str) -> frozenset[str]:
    return frozenset(reasons)


TIMELINES: Mapping[str, Timeline] = {
    "nothing happens": Timeline(lives=[life(0, 1_800)]),
    "the load changes": Timeline(
        lives=[life(0, 1_800)],
        script=[(600 * S, "power", 700_000), (900 * S, "power", 60_000)],
        watts=[(0, 300_000), (600, 700_000), (900, 60_000)],
    ),
    "the clock is set back an hour": Timeline(
        lives=[life(0, 1_800, wrong=[(900 * S, -HOUR)])],
        told=names("clock_step"),
        found=names("clock_step"),
    ),
    "the clock is set back two seconds": Timeline(
        lives=[life(0, 1_800, wrong=[(900 * S, -2 * S)])],
        told=names("clock_step"),
        found=names("clock_step"),
    ),
    "the clock is set ahead and back": Timeline(
        lives=[life(0, 1_800, wrong=[(600 * S, 240 * S), (1_200 * S, 0)])],
        told=names("clock_step"),
        found=names("clock_step"),
    ),
    "the state is lost": Timeline(lives=[life(0, 600), life(605, 1_800)], lost_state=True),
    "away an hour with the state lost": Timeline(
        lives=[life(0, 600), life(3_000, 3_500)], lost_state=True, found=names("gap")
    ),
    "killed, and started again": Timeline(
        lives=[life(0, 637, killed=True), life(640, 900, killed=True), life(905, 1_800)],
        told=names("collector_down"),
    ),
    "suspended for five minutes": Timeline(
        lives=[replace(life(0, 0), ticks_ms=ticks(0, 600) + ticks(900, 1_500))],
        told=names("suspended"),
        found=names("gap"),
    ),
    "two collectors on one board": Timeline(lives=[life(0, 1_800), life(2, 1_802, producer="two")]),
    "the counter is reset": Timeline(
        lives=[life(0, 1_800)],
        script=[(902 * S, "reset", 0)],
        unproven_s=5,
        told=names("counter_reset"),
        found=names("counter_reset"),
    ),
    "reset while nobody looked, past the old value": Timeline(
        lives=[life(0, 60), life(900, 1_800)],
        script=[(100 * S, "reset", 0)],
        unproven_s=840,
        told=names("collector_down"),
        found=names("gap"),
    ),
    "the driver is loaded again, past the old value": Timeline(
        lives=[life(0, 60), life(900, 1_800, load="load-2")],
        script=[(100 * S, "reset", 0)],
        unproven_s=845,
        told=names("driver_reload", "collector_down"),
        found=names("driver_reload"),
    ),
    "the host is started again": Timeline(
        lives=[
            life(0, 600, killed=True),
            life(700, 1_500, boot_id="boot-2", load="load-9", booted_ms=640 * S),
        ],
        script=[(640 * S, "reset", 0)],
        unproven_s=105,
        told=names("reboot", "collector_down"),
        found=names("reboot"),
    ),
    "started again with the state lost and the clock back": Timeline(
        lives=[
            life(0, 600),
            life(
                700,
                1_500,
                boot_id="boot-2",
                load="load-9",
                booted_ms=640 * S,
                wrong=[(0, -30 * S)],
            ),
        ],
        script=[(640 * S, "reset", 0)],
        unproven_s=105,
        lost_state=True,
        found=names("reboot"),
    ),
    "lost for a while": Timeline(
        lives=[life(0, 1_800)],
        script=[(602 * S, "lost", 0), (700 * S, "back", 0)],
        told=names("gpu_lost", "gpu_recovered"),
        found=names("gap"),
    ),
    "lost, and back with a young counter": Timeline(
        lives=[life(0, 1_800)],
        script=[(602 * S, "lost", 0), (650 * S, "reset", 0), (700 * S, "back", 0)],
        unproven_s=120,
        told=names("gpu_lost", "gpu_recovered", "counter_reset"),
        found=names("counter_reset"),
    ),
    "the driver goes for a while": Timeline(
        lives=[life(0, 1_800)],
        script=[(602 * S, "driver", 9), (700 * S, "driver", 0)],
        told=names("driver_missing"),
        found=names("gap"),
    ),
    "blank values": Timeline(
        lives=[life(0, 1_800)],
        script=[(602 * S, "blank", 1), (700 * S, "blank", 0)],
        told=names("blank_value"),
        found=names("gap"),
    ),
    "no permission for a while": Timeline(
        lives=[life(0, 1_800)],
        script=[(602 * S, "code", 83_004), (602 * S, "code", 191_004), (700 * S, "code", 83_000)],
        told=names("no_permission"),
        found=names("gap"),
    ),
    "no counter, but power": Timeline(
        lives=[life(0, 1_800)],
        script=[(0, "code", 83_003), (0, "code", 191_003)],
        told=names("not_supported"),
    ),
    "sliced": Timeline(lives=[life(0, 1_800)], script=[(0, "mig", 1)], told=names("mig_parent")),
    "a whole module": Timeline(
        lives=[life(0, 1_800)], script=[(0, "module", 1)], told=names("module_scope")
    ),
    "reset, killed, and the clock back an hour": Timeline(
        lives=[
            life(0, 637, killed=True, wrong=[(300 * S, -HOUR)]),
            life(640, 1_500, wrong=[(0, -HOUR)]),
        ],
        script=[(902 * S, "reset", 0)],
        unproven_s=5,
        told=names("clock_step", "counter_reset", "collector_down"),
        found=names("clock_step", "counter_reset"),
    ),
    "lost, killed, the state lost and the clock ahead": Timeline(
        lives=[
            life(0, 650, killed=True),
            life(655, 1_500, wrong=[(0, 90 * S), (1_200 * S, 0)]),
        ],
        script=[(602 * S, "lost", 0), (700 * S, "back", 0)],
        lost_state=True,
        told=names("gpu_lost", "gpu_added", "clock_step"),
        found=names("gap", "clock_step"),
    ),
    "five minutes of zeros": Timeline(
        lives=[life(0, 1_800)],
        script=[(600 * S, "zeros", 0), (900 * S, "move", 0)],
        told=names("counter_reset"),
        found=names("readings_disagree", "gap"),
    ),
    "a counter that stands still": Timeline(
        lives=[life(0, 1_800)],
        script=[(600 * S, "stand", 0), (1_200 * S, "move", 0)],
        found=names("counter_frozen"),
    ),
}


@pytest.mark.parametrize("name", TIMELINES)
async def test_books_hold_what_was_used_and_name_the_rest(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
    stub_folder: Path,
    tmp_path: Path,
    name: str,
) -> None:
    timeline, topic = TIMELINES[name], kafka_topic()
    await factory(Books(worker))
    await prepare_storage(worker, now=LATER)
    play(timeline, stub_folder, tmp_path)
    to = KafkaSettings(bootstrap=[kafka_bootstrap], topic=topic)
    sent = await asyncio.to_thread(send_all, tmp_path, to)
    settings = Settings(
        worker_url=database.worker_url,
        kafka_bootstrap=kafka_bootstrap,
        kafka_topic=topic,
        kafka_group=f"group-{topic}",
    )
    stop = asyncio.Event()
    reading = asyncio.create_task(run_worker(settings, stop))
    async with asyncio.timeout(PATIENCE_S):
        while (await fates(worker)).get("received", 0) < sent:
            await asyncio.sleep(0.05)
    stop.set()
    await asyncio.wait_for(reading, PATIENCE_S)
    await check_books(worker, timeline)


async def check_books(worker: Connection, timeline: Timeline) -> None:
    """All that is booked, found and told of both boards is what the timeline says."""
    await allocate(worker, now=LATER)
    for gpu in (A, B):
        used = used_mj(timeline, gpu)
        metered, estimated = await booked_mj(worker, gpu)
        unproven = timeline.unproven_s * WATTS[A] if gpu == A else 0
        assert used - unproven <= metered + estimated <= used
        assert metered <= used - unproven
    found = {reason for row in await meters_of(worker, A) for reason in row["findings"]}
    assert found == timeline.found
    told = await worker.fetch("SELECT DISTINCT reason FROM meter_gap WHERE gpu_uuid = $1", A)
    assert {row["reason"] for row in told} == timeline.told
    report = await coverage_report(
        worker,
        entity_id="factory",
        since=at(-7_200),
        until=at(7_200),
        cut_off=await draw_cut_off(worker, "report"),
    )
    assert {gap.reason for gap in report.meter_gaps if gap.gpu_uuid == A} == timeline.told


async def factory(books: Books) -> None:
    """Hardware that is there before the clock of any host was set back."""
    since, until = at(-7_200), at(7_200)
    await books.entity()
    await books.facility()
    await books.pue(since, until)
    await books.tariff([(since, until, "100")])
    await books.owned(since, until)
    await books.deployment(since, until, gpus=[A])


def play(timeline: Timeline, stub_folder: Path, folder: Path) -> None:
    """Run the lives, one process after the other."""
    lines = [(A, 0, "power", WATTS[A]), (B, 0, "power", WATTS[B])]
    lines += [(A, at_ms, word, number) for at_ms, word, number in timeline.script]
    script = folder / "script"
    script.write_text("".join(f"{' '.join(map(str, line))}\n" for line in lines))
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(stub_folder),
        "PYTHONPATH": str(ROOT),
        "NVML_STUB_SCRIPT": str(script),
        "NVML_STUB_NOW": str(folder / "now"),
    }
    for one in timeline.lives:
        home = folder / one.producer
        if timeline.lost_state:
            (home / "nvml.json").unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, str(PLAYER)],
            input=json.dumps(asdict(replace(one, folder=str(home)))),
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == (9 if one.killed else 0), done.stderr


def spools(folder: Path) -> Iterator[Spool]:
    """What every collector spooled, the younger ones first."""
    for home in sorted((one for one in folder.iterdir() if one.is_dir()), reverse=True):
        with Spool(home, source=f"/hosts/{home.name}", producer=home.name, new_epoch=0) as spool:
            yield spool


def send_all(folder: Path, to: KafkaSettings) -> int:
    """Send it as the daemon does; returns how many events that are."""
    sent = 0
    for spool in spools(folder):
        delivery = Delivery(spool, KafkaPublisher(to), refused=RefusedEvents(folder))
        delivery.start()
        delivery.drain(30)
        assert spool.state().waiting_batches == 0
        sent += delivery.delivered
    return sent


async def booked_mj(worker: Connection, gpu: str) -> tuple[int, int]:
    """(measured, estimated) of all its windows."""
    rows = await meters_of(worker, gpu)
    return sum(row["metered_mj"] for row in rows), sum(row["estimated_mj"] for row in rows)


def used_mj(timeline: Timeline, gpu: str) -> int:
    """What was truly used from the first reading of a board to its last."""
    seconds = [tick // S for one in timeline.lives for tick in one.ticks_ms]
    first, last = min(seconds), max(seconds)
    watts = timeline.watts if gpu == A else [(0, WATTS[gpu])]
    edges = [*watts, (last, 0)]
    return sum(mw * max(b - max(a, first), 0) for (a, mw), (b, _) in pairwise(edges))
