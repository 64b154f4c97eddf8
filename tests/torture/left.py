"""What a failed seed leaves behind: what was sent, and the tables that say what became of it.

A seed that fails once in a hundred runs is found out by what it left, not by running it again.
"""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from ledger.store.connect import connect
from tests.torture.books import stored_facts
from tests.torture.model import Delivery

FOLDER = Path(".cache/torture")
TABLES = (
    *("source", "receipt", "ingest_batch", "event_key", "correction", "fate_change"),
    *("conflict", "quarantine", "quarantine_replay", "archived_partition", "cut_off"),
)
# What chunks have as well; their batch's number stands beside them where they hold one batch.
FACT = ("ordinal", "kind", "flags", "source_id", "event_id", "uncached")


async def leave_books(
    url: str, seed: int, deliveries: Iterable[Delivery], *, below: Path = FOLDER
) -> Path:
    """Write a folder of CSV files; which one."""
    folder = below / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    connection = await connect(url)
    try:
        for table in TABLES:
            await connection.copy_from_query(
                f"SELECT * FROM {table}", output=folder / f"{table}.csv", format="csv", header=True
            )
        facts = [part async for part in stored_facts(connection, FACT) if part.height]
    finally:
        await connection.close()
    pl.concat(facts, how="vertical_relaxed").write_csv(folder / "facts.csv")
    said = "\n".join(repr(delivery) for delivery in deliveries)
    (folder / "sent.txt").write_text(said, encoding="utf-8")
    return folder
