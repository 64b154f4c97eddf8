"""`tokenledger check`: do the books prove themselves?"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import click

from ledger.commands.data.show import counted, json_option, print_json, progress
from ledger.commands.serve.database import Database, database_options, open_connection
from ledger.domain.errors import MissingInputError
from ledger.domain.seal import Tampering, read_head
from ledger.flows.books.check_books import EVERY, BooksReport, check_books
from ledger.flows.check_seals import SealReport, check_seals
from ledger.flows.metering.check import CheckReport, check_windows, expected_facts
from ledger.flows.seal import seal
from ledger.store.books.check_books import Disagreement

# One more than cores of a small machine: while one waits for its thread, the database still works.
READERS = 3
TAMPERINGS_NAMED = 20
# What each proof is of, for people.
SAYS = {
    "extra_delta": "extras of facts and of windows",
    "charge": "usage and charges",
    "usage_day": "usage and its requests by day",
    "key_day": "usage and its tallies by day",
    "price": "charges and prices",
    "period": "charges and prices of whole periods",
    "revenue": "charges and journal",
    "cost_line": "cost lines and what they name",
    "cost_share": "cost lines and what was allocated",
    "cost_day": "days of cost and their windows",
    "pool_day": "days of pools and their windows",
    "meter_day": "days of meters and their windows",
    "gpu_part": "parts that deployments have of GPUs",
    "cost": "cost lines and journal",
    "site_cost": "site costs and journal",
    "utility_bill": "utility bills and journal",
    "control": "control accounts and their sub-ledgers",
    "journal_entry": "entries that sum to zero",
    "carried_balance": "balances and postings",
    "month": "closed months and the journal",
    "posting": "receivables by customer",
    "invoice": "invoices and lines",
    "invoice_line": "lines and prices",
    "invoice_tax": "tax and rates",
    "credit_note": "credit notes and invoices",
    "payment": "payments and invoices",
    "credit_grant": "grants and what they paid",
    "billed": "lines and charges",
    "invoiced": "invoices and journal",
    "thin_day": "days of cost and lines made again",
}
PER_TABLE = {
    "usage_delta": "usage window",
    "activity_delta": "activity window",
    "activity_mask": "busy mask",
    "usage_mark": "marked window",
}


@click.command()
@click.option("--head", is_flag=True, help="Seal what is stored, print the chain's head, and end.")
@click.option("--verify-head", metavar="HEAD", help="A head printed before: nothing of it changed.")
@json_option
@database_options
@click.pass_context
def check(
    ctx: click.Context,
    database: Database,
    head: bool,
    verify_head: str | None,
    as_json: bool,
) -> None:
    """Prove the books; status 1 where anything differs.

    Every window is added up again from the facts, and usage, charges, prices, journal, invoices and
    their lines are held against one another; every sealed row must be what it was. A head printed
    by --head and kept elsewhere vouches for all that was sealed until then.
    """
    if verify_head is not None:
        read_head(verify_head)
    with database.urls() as urls:
        if urls.worker is None:
            raise MissingInputError(
                "The URL of the worker role is not set.", "Set TOKENLEDGER_WORKER_URL."
            )
        if head:
            _show_head(asyncio.run(_seal(urls.worker)), as_json)
            return
        proved = asyncio.run(_check(urls.worker, verify_head))
    if as_json:
        print_json(_as_json(proved))
    else:
        _show(proved)
    if proved.differing:
        ctx.exit(1)


@dataclass(frozen=True, slots=True)
class _Proved:
    """What every part of a check came to."""

    windows: CheckReport
    milliseconds: int
    books: BooksReport
    seals: SealReport

    @property
    def differing(self) -> int:
        return self.windows.differing + self.books.differing + len(self.seals.differences)

    @property
    def rate(self) -> int:
        """Facts a second."""
        return self.windows.facts * 1_000 // max(self.milliseconds, 1)


async def _seal(url: str) -> str | None:
    connection = await open_connection(url)
    try:
        last = await seal(connection)
    finally:
        await connection.close()
    return last.head if last else None


def _show_head(head: str | None, as_json: bool) -> None:
    if as_json:
        print_json({"head": head})
    else:
        click.echo(head or "Nothing is stored that could be sealed.")


async def _check(url: str, head: str | None) -> _Proved:
    async with AsyncExitStack() as stack:
        connections = []
        for _ in range(READERS):
            connections.append(await open_connection(url))
            stack.push_async_callback(connections[-1].close)
        began = time.monotonic_ns()
        with progress("facts added up", await expected_facts(connections[0])) as advance:
            windows = await check_windows(connections, progress=advance)
        milliseconds = (time.monotonic_ns() - began) // 1_000_000
        with progress("proofs of the books", len(EVERY)) as advance:
            books = await check_books(connections[0], progress=advance)
        with progress("sealed rows read") as advance:
            seals = await check_seals(connections, head=head, progress=advance)
    return _Proved(windows, milliseconds, books, seals)


def _as_json(proved: _Proved) -> dict[str, object]:
    return {
        "facts": proved.windows.facts,
        "cut_off_id": proved.windows.cut_off.cut_off_id,
        "windows": proved.windows.windows,
        "milliseconds": proved.milliseconds,
        "facts_per_second": proved.rate,
        "differing": proved.differing,
        "differences": [
            *proved.windows.differences,
            *(_disagreement(difference) for difference in proved.books.differences),
            *(_tampering(difference) for difference in proved.seals.differences[:TAMPERINGS_NAMED]),
        ],
        "proofs": proved.books.proofs,
        "states": proved.books.states,
        "chain": {
            "head": proved.seals.head,
            "seals": proved.seals.seals,
            "rows": proved.seals.rows,
            "differing": len(proved.seals.differences),
        },
    }


def _tampering(tampering: Tampering) -> dict[str, object]:
    return {
        "table": tampering.table,
        "place": tampering.where,
        "counts": {tampering.name: {"expected": tampering.expected, "stored": tampering.stored}},
    }


def _disagreement(disagreement: Disagreement) -> dict[str, object]:
    return {
        "table": disagreement.table,
        "place": disagreement.where,
        "window_start": disagreement.window_start,
        "counts": {
            disagreement.name: {"expected": disagreement.expected, "stored": disagreement.stored}
        },
    }


def _show(proved: _Proved) -> None:
    windows, books = proved.windows, proved.books
    for row in windows.differences:
        click.echo(_line(row))
    for difference in books.differences:
        click.echo(_disagreement_line(difference))
    tampered = proved.seals.differences[:TAMPERINGS_NAMED]
    for mark in tampered:
        click.echo(f"{mark.table}, {mark.where}: {mark.name} was {mark.expected}, is {mark.stored}")
    named = len(windows.differences) + len(books.differences) + len(tampered)
    if proved.differing > named:
        click.echo(f"and {proved.differing - named:,} more")
    compared = ", ".join(counted(windows.windows[table], name) for table, name in PER_TABLE.items())
    took = f"{proved.milliseconds // 1_000:,}.{proved.milliseconds % 1_000:03}"
    click.echo(
        f"{counted(windows.facts, 'fact')} added up in {took} s, {proved.rate:,} a second;"
        f" {compared}: {_verdict(windows.differing)}."
    )
    states = ", ".join(
        f"{count:,} {name.replace('_', ' ')}" for name, count in books.states.items()
    )
    click.echo(f"Usage windows by key: {states}.")
    wrong = [f"{SAYS[table]}: {_verdict(count)}" for table, count in books.proofs.items() if count]
    said = "; ".join(wrong) or f"{len(books.proofs)} proofs, all equal"
    click.echo(f"Books: {said}.")
    click.echo(_chain_line(proved.seals))


def _chain_line(seals: SealReport) -> str:
    if seals.head is None and not seals.differences:
        return "Chain: nothing is sealed yet."
    return (
        f"Chain: {counted(seals.seals, 'seal')} over {counted(seals.rows, 'row')},"
        f" head {seals.head}:"
        f" {_verdict(len(seals.differences))}."
    )


def _verdict(differing: int) -> str:
    if not differing:
        return "all equal"
    return f"{differing:,} differs" if differing == 1 else f"{differing:,} differ"


def _disagreement_line(wrong: Disagreement) -> str:
    at = f" {wrong.window_start:%Y-%m-%d %H:%MZ}" if wrong.window_start else ""
    what = f"{wrong.name} must be {wrong.expected}, is {wrong.stored}"
    return f"{SAYS[wrong.table]}:{at} {wrong.where}: {what}"


def _line(row: Mapping[str, Any]) -> str:
    named = ("engine_instance", "customer_ref", "model", "tier")
    keys = " ".join(str(row[name]) for name in named if row.get(name))
    unnamed = " ".join(f"{n} {row[n]}" for n in ("engine_key_id", "usage_key_id") if n in row)
    start = row["window_start"]
    window = start.strftime("%Y-%m-%d %H:%MZ") if start else row["place"]
    said = [
        f"{name}: facts {_count(pair['facts'])}, stored {_count(pair['stored'])}"
        for name, pair in row["counts"].items()
    ]
    if seconds := row.get("seconds"):
        first = ", ".join(str(second) for second in seconds["first"])
        more = " …" if seconds["differing"] > len(seconds["first"]) else ""
        number = "second differs" if seconds["differing"] == 1 else "seconds differ"
        said.append(f"{seconds['differing']:,} {number}: {first}{more}")
    return f"{row['table']} {' '.join(filter(None, (window, keys or unnamed)))}: {', '.join(said)}"


def _count(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
