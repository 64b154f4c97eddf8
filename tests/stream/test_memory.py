"""What a worker gives back to its machine."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps").exists(), reason="Linux says what is resident, others do not"
)
SCRIPT = """
import re
from datetime import UTC, datetime
from pathlib import Path

from ledger.stream.memory import collect_rarely, give_back_compiler, share_heaps

share_heaps()
from ledger.domain.metering.prepare import prepare
from ledger.domain.metering.record import Record

collect_rarely()
LINE = (
    '{"specversion":"1.0","id":"e%04d","source":"gw","type":"inference.usage.v1",'
    '"time":"2026-08-06T11:00:00Z","data":{"customer_id":"acme","usage":{"input":'
    '{"uncached":1,"cache_read":0,"cache_write":0},"output":{"visible":1,"reasoning":0}}}}'
)
BODY = chr(10).join(LINE % n for n in range(400)).encode()


def decoded():
    now = datetime(2026, 8, 7, tzinfo=UTC)
    return prepare([Record(BODY)], now=now, body_bytes_max=10**6).usage.rows()


def resident_kib():
    smaps = Path("/proc/self/smaps").read_text()
    found = re.findall(r"libllvmlite[.]so\\n(?:.*\\n)*?Rss: +(\\d+)", smaps)
    return sum(map(int, found))


first = decoded()
before = resident_kib()
give_back_compiler()
after = resident_kib()
assert decoded() == first
print(before, after)
"""


def test_the_compiler_is_given_back_and_what_it_made_still_works() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True
    )
    before, after = map(int, done.stdout.split())
    assert before > 20_000
    assert after < before / 2


HOLES = """
from pathlib import Path

import numpy as np

from ledger.stream.memory import FULL_BYTES, Heaps, share_heaps

share_heaps()


def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) // 256


kept = [np.ones(30_000) for _ in range(400)]
del kept[::2]
full = resident_mib()
Heaps().look()
untouched = resident_mib()
heaps = Heaps(resident_bytes_max=0)
heaps.look()
print(full, untouched, resident_mib(), int(heaps.resident_bytes_max == FULL_BYTES))
"""


def test_a_process_that_has_grown_gives_back_what_lies_free_between() -> None:
    done = subprocess.run([sys.executable, "-c", HOLES], check=True, capture_output=True, text=True)
    full, untouched, left, asked_when_full = map(int, done.stdout.split())
    assert untouched >= full - 2
    assert left < full - 30
    assert asked_when_full
