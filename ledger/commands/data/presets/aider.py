"""Benchmark runs of aider, as its leaderboard lists them: a run is an agent's, and says its cost.

The model is the last part of what `--model` of its command names; a run without counts is no usage.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import yaml

from ledger.commands.data.presets.preset import Preset
from ledger.commands.data.rows import read_bytes
from ledger.commands.data.usage_file import Cells
from ledger.domain.errors import InvalidInputError

_MODEL = re.compile(r"--model[ =](?:\S*/)?([^\s/]+)", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def read_aider(path: Path, _start: datetime) -> Iterator[Cells]:
    """(place in the list, cells) of every run that counted its tokens; InvalidInputError says what
    is no list of runs."""
    try:
        # Every scalar as the text it is: no cost passes through a float.
        runs = yaml.load(read_bytes(path), Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        said = " ".join(f"{error}".split())[:200]
        raise InvalidInputError(f"{path.name} is not YAML: {said}.", "Mend it.") from error
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise InvalidInputError(f"{path.name} is no list of runs.", "Name a leaderboard's file.")
    for number, run in enumerate(runs, 1):
        if "prompt_tokens" in run:
            yield number, _cells(run)


def _cells(run: Mapping[str, object]) -> list[object]:
    day = run.get("date")
    is_day = isinstance(day, str) and _DAY.fullmatch(day)
    command = _MODEL.search(str(run.get("command", "")))
    return [
        f"{day}T00:00:00Z" if is_day else day,
        command[1] if command else run.get("model"),
        run["prompt_tokens"],
        run.get("completion_tokens"),
        run.get("test_cases"),
        run.get("dirname"),
        run.get("total_cost"),
    ]


_FIXED: Mapping[str, str] = MappingProxyType(
    {"customer": "aider", "agent": "aider", "cost_currency": "USD"}
)
AIDER = Preset(("time", "model", "input", "output", "requests", "run", "cost"), _FIXED, read_aider)
