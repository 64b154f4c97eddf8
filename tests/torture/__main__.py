"""`python -m tests.torture --seeds 1-200 --jobs 2 --json FILE`: every seed, and a word on each."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from tests.torture.run import Outcome, ground, run_seed
from tests.torture.scene import MISSED


def main(arguments: Sequence[str]) -> int:
    """Run the seeds; 1 where one of them failed."""
    options = _options().parse_args(arguments)
    seeds = list(_seeds(options.seeds))
    shares = [seeds[n :: options.jobs] for n in range(options.jobs)]
    began = time.monotonic()
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        jobs = [pool.submit(_run_share, share) for share in shares if share]
        for job in as_completed(jobs):
            outcomes += job.result()
    failed = sorted(one.seed for one in outcomes if one.wrong)
    minutes = (time.monotonic() - began) / 60
    print(f"{len(outcomes)} seeds in {minutes:.1f} minutes, {len(failed)} failed: {failed}")
    if options.json:
        _keep(Path(options.json), sorted(outcomes, key=lambda one: one.seed), minutes)
    return 1 if failed else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seeds", default="1-200", help="like 17 or 1-200")
    parser.add_argument("--jobs", type=int, default=2, help="seeds at once, each on its own parts")
    parser.add_argument("--json", help="where to keep what the run said")
    return parser


def _seeds(text: str) -> Iterator[int]:
    first, _, last = text.partition("-")
    return iter(range(int(first), int(last or first) + 1))


def _run_share(seeds: Sequence[int]) -> list[Outcome]:
    outcomes = []
    with ground() as parts:
        for seed in seeds:
            one = run_seed(parts, seed)
            verdict = "FAILED" if one.wrong else "ok"
            faults = ", ".join(one.faults)
            print(f"seed {seed}: {verdict}, {one.events} events, {one.seconds} s ({faults})")
            print(f"  {'; '.join(one.met)}")
            for line in one.wrong:
                print(f"  {line}")
            sys.stdout.flush()
            outcomes.append(one)
    return outcomes


def _keep(path: Path, outcomes: Sequence[Outcome], minutes: float) -> None:
    faults = Counter(name for one in outcomes for name in one.faults)
    body = {
        "seeds": len(outcomes),
        "failed": [asdict(one) for one in outcomes if one.wrong],
        "events": sum(one.events for one in outcomes),
        "minutes": round(minutes, 1),
        "faults": dict(sorted(faults.items())),
        "missed": [[one.seed, said] for one in outcomes for said in one.met if MISSED in said],
        "runs": [
            [one.seed, one.events, one.seconds, list(one.faults), list(one.met)] for one in outcomes
        ],
    }
    path.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
