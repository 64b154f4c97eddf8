"""`python -m tests.simulation --seeds 1-20000`: each a life of a collector, and one of workers."""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tests.simulation import collector, worker


class Found(Protocol):
    """What a seed met, and what went wrong in it."""

    seed: int
    wrong: list[str]
    met: dict[str, int]


LIVES: Mapping[str, Callable[[int], Found]] = {"collector": collector.run, "workers": worker.run}
CHUNK = 20


def main(arguments: Sequence[str]) -> int:
    """Run the seeds; 1 where one of them went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="1-20000", help="like 17 or 1-20000")
    parser.add_argument("--of", choices=LIVES, help="of whom (default: each)")
    given = parser.parse_args(arguments)
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    failed = [live(name, seeds) for name in ([given.of] if given.of else LIVES)]
    return 1 if any(failed) else 0


def live(name: str, seeds: Sequence[int]) -> list[int]:
    """The seeds that went wrong, in as many processes as there are cores."""
    began, met, failed = time.monotonic(), Counter[str](), list[int]()
    with multiprocessing.Pool(os.cpu_count()) as pool:
        for found in pool.imap_unordered(LIVES[name], seeds, CHUNK):
            met.update(found.met)
            if found.wrong:
                failed.append(found.seed)
                print(f"{name}, seed {found.seed}: FAILED", *found.wrong, sep="\n  ")
    said = ", ".join(f"{count} {what}" for what, count in sorted(met.items()))
    seconds = round(time.monotonic() - began)
    print(
        f"{len(seeds)} lives of {name} in {seconds} s: {said}; failed: {sorted(failed) or 'none'}"
    )
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
