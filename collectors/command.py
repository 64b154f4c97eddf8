"""`tokenledger collect`, without a library for command lines: that would stay in memory."""

import getopt
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from collectors.daemon import run_agent
from collectors.errors import CalledWrongError
from collectors.settings import CollectSettings, load_settings
from collectors.tables import nested
from ledger.wire.errors import TokenledgerError
from ledger.wire.one_line import one_line
from ledger.wire.secrets import log_to_stderr, scrub, scrub_tracebacks

HELP = """Usage: tokenledger collect [OPTIONS]

  Read GPUs and inference servers and send what they say, until stopped.

Options:
  --config FILE       TOML with a [collect] table.
  --set SETTING=VALUE Over file and environment; a table's as http.url=...; repeatable.
  --replay FILE       A recording to play.
  --record FILE       Keep what is read for a replay.
  --exit-when-done    End after the recording has been sent.
  -h, --help          Show this message and exit.
"""
OPTIONS = ["config=", "set=", "replay=", "record=", "exit-when-done", "help"]


def main(arguments: Sequence[str]) -> int:
    """The process of a GPU host; an error is one line on stderr."""
    scrub_tracebacks()
    # What it makes is its user's alone.
    os.umask(0o077)
    try:
        return collect(arguments)
    except CalledWrongError as error:
        _say(f"{error} See `tokenledger collect --help`.")
        return 2
    except TokenledgerError as error:
        _say(str(error))
        return 1


def collect(arguments: Sequence[str]) -> int:
    """Collect as the arguments say; returns the exit status."""
    given = _read(arguments)
    if "help" in given:
        sys.stdout.write(HELP)
        return 0
    log_to_stderr(logging.INFO)
    path = Path(given["config"][-1]) if "config" in given else None
    overrides = pairs(given.get("set", ()))
    for name in ("replay", "record"):
        if name in given:
            overrides[f"{name}_file"] = given[name][-1]
    if "exit-when-done" in given:
        overrides["exit_when_done"] = True

    def load() -> CollectSettings:
        return load_settings(path, **overrides)

    return run_agent(load(), load=load, path=path)


def pairs(given: Sequence[str]) -> dict[str, object]:
    """SETTING=VALUE texts as a table of settings."""
    said: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CalledWrongError("--set takes SETTING=VALUE.")
        said[name] = value
    return nested(said, ".")


def _read(arguments: Sequence[str]) -> dict[str, list[str]]:
    try:
        options, rest = getopt.gnu_getopt(list(arguments), "h", OPTIONS)
    except getopt.GetoptError as error:
        raise CalledWrongError(f"{error.msg}.") from None
    if rest:
        raise CalledWrongError(f"{rest[0]!r} is no option.")
    given: dict[str, list[str]] = {}
    for name, value in options:
        given.setdefault("help" if name == "-h" else name.removeprefix("--"), []).append(value)
    return given


def _say(text: str) -> None:
    sys.stderr.write(one_line(scrub(f"error: {text}")) + "\n")
