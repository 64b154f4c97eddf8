"""`python -m benchmarks [NAME]`: measure, print a table, and keep benchmarks/results.json."""

import sys
from collections.abc import Mapping

from benchmarks import ingest
from benchmarks.harness import Benchmark, save, show

BENCHMARKS: Mapping[str, Benchmark] = {"ingest": ingest.run}


def main(arguments: list[str]) -> int:
    """Run the named benchmarks, or all of them."""
    unknown = [name for name in arguments if name not in BENCHMARKS]
    if unknown:
        known = ", ".join(BENCHMARKS)
        sys.stderr.write(f"error: there is no benchmark {unknown[0]}; choose of {known}\n")
        return 2
    for name in arguments or list(BENCHMARKS):
        sys.stderr.write(f"measuring {name} …\n")
        figures = BENCHMARKS[name]()
        save(figures, {"postgresql": "embedded 18, fsync on, defaults of ledger/store/postgres.py"})
        show(figures)
    return 0


sys.exit(main(sys.argv[1:]))
