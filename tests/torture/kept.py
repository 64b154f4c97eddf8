"""What runs of these sources said, in one file: part by part, or all at once."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.torture.run import Outcome

ROOT = Path(__file__).parent.parent.parent
SOURCES = (
    *("ledger/**/*.py", "ledger/**/*.sql", "collectors/**/*.py", "migrations/**/*.sql"),
    *("tests/torture/[!t]*.py", "tests/support/disks.py"),
)


def sources_digest() -> str:
    """Names one state of what is tested and of what tests it."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in ROOT.glob(pattern)):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def keep(path: Path, outcomes: Iterable[Outcome], *, sources: str, seconds: int) -> None:
    """Write what was said, beside the other seeds that the file holds of these very sources."""
    if sources != sources_digest():
        sources = "changed while it ran"
    before = _read(path, sources)
    runs = {run["seed"]: run for run in before.get("runs", [])}
    runs |= {one.seed: _plain(one) for one in outcomes}
    ordered = [runs[seed] for seed in sorted(runs)]
    head = {
        "sources": sources_digest(),
        "minutes": round(before.get("minutes", 0) + seconds / 60, 1),
    }
    body = head | summary(ordered)
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in body.items()]
    each = ",\n  ".join(json.dumps(run, separators=(",", ":")) for run in ordered)
    path.write_text("{\n" + ",\n".join(lines) + f',\n "runs": [\n  {each}\n ]\n}}\n')


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Seeds that failed; what was lost, doubled or answered 500; how often each fault hit and
    missed; how much of each kind was sent."""
    faults: dict[str, Counter[str]] = {}
    kinds: Counter[str] = Counter()
    for run in runs:
        kinds.update(run["kinds"])
        for fault in run["faults"]:
            met = faults.setdefault(fault["fault"], Counter(met=0, missed=0))
            met["missed" if fault["missed"] else "met"] += 1
    return {
        "seeds": len(runs),
        "failed": [run["seed"] for run in runs if run["wrong"]],
        "inflicted": sum(len(run["faults"]) for run in runs),
        "items": kinds["events"],
        "lost": sum(run["lost"] for run in runs),
        "doubled": sum(run["doubled"] for run in runs),
        "distinct_500s": sorted({text for run in runs for text in run["errors"]}),
        "faults": {name: dict(met) for name, met in sorted(faults.items())},
        "kinds": dict(kinds),
    }


def never_met(runs: Iterable[Outcome]) -> list[str]:
    """Faults that were drawn and hit nothing in any of the runs: they prove nothing."""
    runs = list(runs)
    drawn = {met.fault for one in runs for met in one.faults}
    return sorted(drawn - {met.fault for one in runs for met in one.faults if not met.missed})


def _read(path: Path, sources: str) -> dict[str, Any]:
    if not path.exists():
        return {}
    kept: dict[str, Any] = json.loads(path.read_text())
    return kept if kept.get("sources") == sources else {}


def _plain(one: Outcome) -> dict[str, Any]:
    return asdict(one) | {"faults": [asdict(met) | {"missed": met.missed} for met in one.faults]}
