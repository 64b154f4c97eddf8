"""`python -m benchmarks [NAME ...]`: measure, print a table, keep results.json and RESULTS.md."""

import signal
import sys
from collections.abc import Mapping

from benchmarks import (
    allocation,
    balances,
    check,
    collector,
    evidence,
    exchange_rates,
    flatness,
    ingest,
    invoicing,
    latency,
    mixed,
    over_http,
    preview,
    price_table,
    profile_ingest,
    rating,
    reservation,
    revenue,
    silence,
    stream,
)
from benchmarks.harness import Benchmark, save, show
from benchmarks.machine import machine
from benchmarks.server import SHOWN

BENCHMARKS: Mapping[str, Benchmark] = {
    "ingest": ingest.run,
    **{name: stream.benchmark(name) for name in stream.FORMS},
    "http": over_http.run,
    "latency": latency.run,
    "mixed": mixed.run,
    **{f"flatness-{form}": flatness.benchmark(form) for form in flatness.FORMS},
    "allocation": allocation.run,
    "check": check.run,
    "evidence": evidence.run,
    "price-table": price_table.run,
    "exchange-rates": exchange_rates.run,
    "rating": rating.run,
    "invoicing": invoicing.run,
    "preview": preview.run,
    "revenue": revenue.run,
    "balances": balances.run,
    "reservation": reservation.run,
    "silence": silence.run,
    "collector": collector.run,
    "profile": profile_ingest.run,
}
# Several under one name.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "kafka": tuple(stream.FORMS),
    "flatness": tuple(f"flatness-{form}" for form in flatness.FORMS),
}


def main(arguments: list[str]) -> int:
    """Run the named benchmarks, or all of them."""
    names = [name for given in arguments for name in GROUPS.get(given, (given,))]
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        known = ", ".join([*BENCHMARKS, *GROUPS])
        sys.stderr.write(f"error: there is no benchmark {unknown[0]}; choose of {known}\n")
        return 2
    _tell(machine())
    for name in names or list(BENCHMARKS):
        sys.stderr.write(f"measuring {name} …\n")
        figures = BENCHMARKS[name]()
        settings = dict(SHOWN)
        _tell(settings)
        if figures:
            save(figures, settings)
            show(figures)
    return 0


def _tell(said: Mapping[str, str]) -> None:
    sys.stderr.write("".join(f"{name} = {value}\n" for name, value in said.items()))


# Processes that a measurement starts read this file as well.
if __name__ == "__main__":
    # Whoever is told to end stops its servers as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
