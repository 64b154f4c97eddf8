"""`python -m tests.simulation --seeds 1-20000`: each a life of a collector."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.simulation.collector import run


def main(arguments: Sequence[str]) -> int:
    """Run the seeds; 1 where one of them went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="1-20000", help="like 17 or 1-20000")
    first, _, last = parser.parse_args(arguments).seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    began, met, failed = time.monotonic(), Counter[str](), list[int]()
    for seed in seeds:
        found = run(seed)
        met.update(found.met)
        if found.wrong:
            failed.append(seed)
            print(f"seed {seed}: FAILED", *found.wrong, sep="\n  ")
    said = ", ".join(f"{count} {what}" for what, count in sorted(met.items()))
    seconds = round(time.monotonic() - began)
    print(f"{len(seeds)} simulated lives in {seconds} s: {said}; failed: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
