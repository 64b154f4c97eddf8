"""`python -m tests.torture --seeds 1-200 --jobs 4 --json FILE`: every seed, and a word on each.

Seeds that FILE holds already, of these very sources, stay in it: a long run may be made in parts.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.torture.jobs import leave, run_all
from tests.torture.kept import keep, never_met, sources_digest
from tests.torture.run import Outcome

# Most of a seed is waiting: for a session to end, for a broker to come back.
JOBS = 4
ENOUGH = 100


def main(arguments: Sequence[str]) -> int:
    """Run the seeds; 1 where one of them failed, or did not come to its end."""
    signal.signal(signal.SIGTERM, leave)
    options = _options().parse_args(arguments)
    seeds = list(_seeds(options.seeds))
    sources = sources_digest()
    began, outcomes = time.monotonic(), list[Outcome]()
    try:
        for one in run_all(seeds, min(options.jobs, len(seeds))):
            outcomes.append(one)
            _tell(one)
    finally:
        seconds = round(time.monotonic() - began)
        failed = sorted(one.seed for one in outcomes if one.wrong)
        print(f"{len(outcomes)} of {len(seeds)} seeds in {seconds} s; failed: {failed or 'none'}")
        print(_figures(outcomes))
        if options.json:
            keep(Path(options.json), outcomes, sources=sources, seconds=seconds)
    # A fault that never hit among so many seeds is a defect of its own.
    vain = never_met(outcomes) if len(seeds) >= ENOUGH else []
    if vain:
        print(f"these faults never hit anything: {', '.join(vain)}")
    return 1 if failed or vain or len(outcomes) < len(seeds) else 0


def _figures(outcomes: Sequence[Outcome]) -> str:
    faults = [met for one in outcomes for met in one.faults]
    missed = sum(met.missed for met in faults)
    items = sum(one.kinds.get("events", 0) for one in outcomes)
    lost, doubled = sum(one.lost for one in outcomes), sum(one.doubled for one in outcomes)
    errors = {text for one in outcomes for text in one.errors}
    return (
        f"{len(faults)} faults, of which {missed} missed; {items} items,"
        f" {lost} lost, {doubled} doubled, {len(errors)} distinct answers of 500"
    )


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seeds", default="1-200", help="like 17 or 1-200")
    parser.add_argument("--jobs", type=int, default=JOBS, help="how many at once")
    parser.add_argument("--json", help="where to keep what the run said")
    return parser


def _seeds(text: str) -> Iterator[int]:
    first, _, last = text.partition("-")
    return iter(range(int(first), int(last or first) + 1))


def _tell(one: Outcome) -> None:
    verdict = "FAILED" if one.wrong else "ok"
    print(f"seed {one.seed}: {verdict}, {one.kinds.get('events', 0)} events, {one.seconds} s")
    for met in one.faults:
        print(f"  {met.fault}: {'; '.join(met.said)}")
    for line in one.wrong:
        print(f"  {line}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
