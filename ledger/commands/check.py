"""`tokenledger check`: do the stored windows equal the facts?"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import click

from ledger.commands.database import Database, database_options, open_connection
from ledger.commands.show import json_option, print_json, progress
from ledger.domain.errors import MissingInputError
from ledger.flows.check import CheckReport, check_windows, expected_facts

# One more than cores of a small machine: while one waits for its thread, the database still works.
READERS = 3
PER_TABLE = {
    "usage_delta": "usage windows",
    "activity_delta": "activity windows",
    "activity_mask": "busy masks",
}


@click.command()
@json_option
@database_options
@click.pass_context
def check(ctx: click.Context, database: Database, as_json: bool) -> None:
    """Recompute every window from the facts and compare; status 1 where any differs."""
    with database.urls() as urls:
        if urls.worker is None:
            raise MissingInputError(
                "The URL of the worker role is not set.", "Set TOKENLEDGER_WORKER_URL."
            )
        found, milliseconds = asyncio.run(_check(urls.worker))
    if as_json:
        print_json(_as_json(found, milliseconds))
    else:
        _show(found, milliseconds)
    if found.differing:
        ctx.exit(1)


async def _check(url: str) -> tuple[CheckReport, int]:
    async with AsyncExitStack() as stack:
        connections = []
        for _ in range(READERS):
            connections.append(await open_connection(url))
            stack.push_async_callback(connections[-1].close)
        began = time.monotonic_ns()
        with progress("facts added up", await expected_facts(connections[0])) as advance:
            found = await check_windows(connections, progress=advance)
    return found, (time.monotonic_ns() - began) // 1_000_000


def _as_json(found: CheckReport, milliseconds: int) -> dict[str, Any]:
    return {
        "facts": found.facts,
        "cut_off_id": found.cut_off.cut_off_id,
        "windows": found.windows,
        "milliseconds": milliseconds,
        "facts_per_second": _rate(found.facts, milliseconds),
        "differing": found.differing,
        "differences": found.differences,
    }


def _show(found: CheckReport, milliseconds: int) -> None:
    for row in found.differences:
        click.echo(_line(row))
    if found.differing > len(found.differences):
        click.echo(f"and {found.differing - len(found.differences):,} more")
    compared = ", ".join(f"{found.windows[table]:,} {name}" for table, name in PER_TABLE.items())
    took = f"{milliseconds // 1_000:,}.{milliseconds % 1_000:03}"
    verdict = f"{found.differing:,} differ" if found.differing else "all equal"
    rate = _rate(found.facts, milliseconds)
    click.echo(
        f"{found.facts:,} facts added up in {took} s, {rate:,} a second; {compared}: {verdict}."
    )


def _line(row: Mapping[str, Any]) -> str:
    named = ("engine_instance", "customer_ref", "model", "tier")
    keys = " ".join(str(row[name]) for name in named if row.get(name))
    unnamed = " ".join(f"{n} {row[n]}" for n in ("engine_key_id", "usage_key_id") if n in row)
    window = row["window_start"].strftime("%Y-%m-%d %H:%MZ")
    said = [
        f"{name}: facts {_count(pair['facts'])}, stored {_count(pair['stored'])}"
        for name, pair in row["counts"].items()
    ]
    if seconds := row.get("seconds"):
        first = ", ".join(str(second) for second in seconds["first"])
        more = " …" if seconds["differing"] > len(seconds["first"]) else ""
        said.append(f"{seconds['differing']:,} seconds differ: {first}{more}")
    return f"{row['table']} {window} {keys or unnamed}: {', '.join(said)}"


def _count(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _rate(facts: int, milliseconds: int) -> int:
    return facts * 1_000 // max(milliseconds, 1)
