"""Reads and writes the chain, and takes digests of stretches of rows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import asyncpg

from ledger.domain.errors import ConflictError
from ledger.domain.seal import BatchDigest, Seal, SealPart
from ledger.store.queries import Connection, load_queries

SEAL = load_queries("seal")
# Types as PostgreSQL names them, and nothing that could be anything else than a list of columns.
_COLUMN = r't\.(?:[a-z_0-9]+|"[a-z_0-9]+")::[a-z0-9 ()\[\]]+'
_COLUMNS = re.compile(f"{_COLUMN}(?:, {_COLUMN})*")
LOWEST = -(2**63)


@dataclass(frozen=True, slots=True)
class SealedTable:
    """Where rows stand in the stored order; `source` has them as t.

    `rows` is what a row of the table counts as.
    """

    source: str
    order: str = "t.batch_seq"
    by_day: bool = False
    by_cut_off: bool = False
    left_out: tuple[str, ...] = ()
    rows: str = "1"


def _table(name: str) -> SealedTable:
    return SealedTable(f"{name} t")


def _facts(name: str) -> SealedTable:
    return SealedTable(f"{name} t", by_day=True)


def _part_of(name: str, parent: str, key: str) -> SealedTable:
    return SealedTable(f"{name} t JOIN {parent} p USING ({key})", "p.batch_seq")


def _dated(name: str) -> SealedTable:
    # What was entered stays; that it was superseded is said later, in `recorded`.
    return SealedTable(f"{name} t", "lower(t.recorded)", left_out=("recorded",))


ARCHIVED, MERGED = "archived_partition", "merged_chunk"
ENTERED = (
    *("entity", "customer", "facility", "tariff", "rate_card", "api_key", "api_key_revocation"),
    "webhook",
)
DATED = (
    *(
        "entity_detail",
        "customer_detail",
        "customer_alias",
        "customer_parent",
        "customer_above",
        "facility_pue",
        "energy_meter",
    ),
    *("asset", "tariff_price", "deployment", "deployment_member", "fx_rate", "rate_card_price"),
    *("site_cost_term", "utility_bill", "grid_factor", "weight_set", "idle_policy"),
    *("subscription", "tax_rate", "tax_registration", "tax_treatment", "budget", "dunning_policy"),
    "top_up_rule",
)
# Its SHA-256 vouches for what a chunk holds, and `check` holds that against it.
FACTS = ("facts",)
# So many rows are sorted by their bytes at once, in memory.
SLICE_ROWS = 100_000
TABLES: Mapping[str, SealedTable] = {
    "usage_fact": _facts("usage_fact"),
    "usage_chunk": SealedTable("usage_chunk t", by_day=True, left_out=FACTS, rows="t.rows"),
    "gpu_reading": _facts("gpu_reading"),
    "meter_gap": _facts("meter_gap"),
    "counter_reading": _facts("counter_reading"),
    "agent_run_delta": _table("agent_run_delta"),
    "receipt": _table("receipt"),
    "ingest_batch": _table("ingest_batch"),
    "event_key": _table("event_key"),
    "correction": _table("correction"),
    "fate_change": _table("fate_change"),
    "conflict": _table("conflict"),
    "quarantine": _table("quarantine"),
    "quarantine_replay": _table("quarantine_replay"),
    "provider_claim": _table("provider_claim"),
    "usage_extra": SealedTable("usage_extra t", by_day=True, rows="cardinality(t.ordinals)"),
    # What a source is called stays; in which form it comes is said with its first event.
    "source": SealedTable("source t", left_out=("form",)),
    "source_form": _table("source_form"),
    "meter_window": _table("meter_window"),
    "cost_pool": _table("cost_pool"),
    "cost_allocation": _table("cost_allocation"),
    "cost_day": _table("cost_day"),
    "cost_day_line": _table("cost_day_line"),
    "pool_day": _table("pool_day"),
    "meter_day": _table("meter_day"),
    "site_cost": _table("site_cost"),
    "weight_check": _table("weight_check"),
    "charge_day": _table("charge_day"),
    "usage_day": _table("usage_day"),
    "journal_entry": _table("journal_entry"),
    "posting": _part_of("posting", "journal_entry", "entry_id"),
    "month_state": _table("month_state"),
    "invoice": _table("invoice"),
    "invoice_line": _part_of("invoice_line", "invoice", "invoice_id"),
    "invoice_tax": _part_of("invoice_tax", "invoice", "invoice_id"),
    "credit_note": _table("credit_note"),
    **{
        name: _part_of(name, "credit_note", "credit_note_id")
        for name in ("credit_note_line", "credit_note_tax", "credit_note_document")
    },
    "payment": _table("payment"),
    "dunning_letter": _table("dunning_letter"),
    "dunning_letter_item": _part_of("dunning_letter_item", "dunning_letter", "letter_id"),
    **{name: _table(name) for name in ("entity_logo", "dispute", "dispute_resolution")},
    **{name: _table(name) for name in ("bank_entry", "bank_entry_outcome")},
    "payment_part": SealedTable(
        "payment_part t JOIN payment p USING (entity_id, payment_id)", "p.batch_seq"
    ),
    **{
        name: _table(name)
        for name in (
            "credit_grant",
            "credit_draw",
            "credit_expiry",
            "credit_applied",
            "credit_event",
        )
    },
    "invoice_document": _table("invoice_document"),
    "manual_write": _table("manual_write"),
    **{name: _table(name) for name in ENTERED},
    **{name: _dated(name) for name in DATED},
    "cut_off": SealedTable("cut_off t", "t.cut_off_id", by_cut_off=True),
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows of one table in (since, until], by batch or by cut-off, and what is digested of them.

    Of one stored day, or of any: None; a table that is not kept by days has none.
    """

    table: str
    columns: str
    since: int
    until: int
    day: date | None = None


async def list_seals(connection: Connection) -> list[Seal]:
    """The chain."""
    return [_seal(row) for row in await SEAL["list_seals"].rows(connection)]


async def find_last_seal(connection: Connection) -> Seal | None:
    """The end of the chain, or None before the first."""
    row = await SEAL["find_last_seal"].row(connection)
    return _seal(row) if row else None


async def list_parts(connection: Connection) -> dict[int, list[SealPart]]:
    """What each seal holds."""
    parts: dict[int, list[SealPart]] = {}
    for row in await SEAL["list_parts"].rows(connection):
        part = SealPart(
            *(row["table_name"], row["stored_day"], row["rows"], row["digest"], row["columns"])
        )
        parts.setdefault(row["seal_no"], []).append(part)
    return parts


async def find_latest_cut_off(connection: Connection) -> int:
    """The highest batch behind any cut-off."""
    return int(await SEAL["find_latest_cut_off"].value(connection))


async def find_latest_cut_off_id(connection: Connection) -> int:
    """The highest cut-off; all below it are there only while nobody may draw one."""
    return int(await SEAL["find_latest_cut_off_id"].value(connection))


async def list_columns(connection: Connection, table: str) -> str:
    """What a digest of the table is of, as it is now."""
    left_out = list(TABLES[table].left_out if table in TABLES else FACTS)
    return str(await SEAL["list_columns"].value(connection, table_name=table, left_out=left_out))


async def prefer_indexes(connection: Connection) -> None:
    """Find stretches by index, for the transaction."""
    await SEAL["prefer_indexes"].row(connection)


async def count_batches(connection: Connection, stretch: Stretch) -> list[tuple[int, int]]:
    """(place, rows) of each batch of a stretch that has rows, in stored order."""
    rows = await _fetch(connection, "count_batches", stretch)
    return [(row["place"], row["rows"]) for row in rows]


async def digest_batches(connection: Connection, stretch: Stretch) -> list[BatchDigest]:
    """Each batch of a stretch that has rows, by day."""
    rows = await _fetch(connection, "digest_batches", stretch)
    return [BatchDigest(*row) for row in rows]


async def _fetch(connection: Connection, name: str, stretch: Stretch) -> list[asyncpg.Record]:
    table, query = TABLES[stretch.table], SEAL[name]
    # The columns come last: they name others.
    words = {
        "t.batch_seq": table.order,
        "receipt t": table.source,
        "NULL::date": "t.stored_day" if table.by_day else "NULL::date",
        "1::numeric": f"{table.rows}::numeric",
        # Said as it is and not given: the planner leaves out all other days.
        "AND true": f"AND t.stored_day = date '{stretch.day}'" if stretch.day else "",
        "t.ordinal_from": _checked(stretch.columns),
    }
    given = {"since": stretch.since, "until": stretch.until}
    values = [given[parameter] for parameter in query.parameters]
    return await connection.fetch(_filled(query.sql, words), *values)


async def digest_archived(connection: Connection, columns: str) -> dict[date, list[bytes]]:
    """The digests of the rows of archived_partition, in their order, by day."""
    text = _filled(SEAL["digest_archived"].sql, {"t.path": _checked(columns)})
    digests: dict[date, list[bytes]] = {}
    for row in await connection.fetch(text):
        digests.setdefault(row["stored_day"], []).append(row["digest"])
    return digests


async def digest_merged(
    connection: Connection, columns: str, days: tuple[date, date] = (date.min, date.max)
) -> dict[date, list[bytes]]:
    """The digests of the rows of merged_chunk, in their order, by day, from one day to another."""
    query = SEAL["digest_merged"]
    given = dict(zip(("since_day", "until_day"), days, strict=True))
    values = [given[parameter] for parameter in query.parameters]
    text = _filled(query.sql, {"t.sha256": _checked(columns)})
    digests: dict[date, list[bytes]] = {}
    for row in await connection.fetch(text, *values):
        digests.setdefault(row["stored_day"], []).append(row["digest"])
    return digests


async def insert_seal(connection: Connection, seal: Seal, parts: Sequence[SealPart]) -> None:
    """Add to the chain; UniqueViolationError where another was first."""
    await SEAL["insert_seal"].run(
        connection,
        seal_no=seal.seal_no,
        until_seq=seal.until_seq,
        until_cut_off_id=seal.until_cut_off_id,
        previous=seal.previous,
        digest=seal.digest,
    )
    await SEAL["insert_parts"].run(
        connection,
        seal_no=seal.seal_no,
        tables=[part.table for part in parts],
        days=[part.stored_day for part in parts],
        rows=[part.rows for part in parts],
        digests=[part.digest for part in parts],
        columns=[part.columns for part in parts],
    )


def _checked(columns: str) -> str:
    if not _COLUMNS.fullmatch(columns):
        raise ConflictError(
            f"A seal names no columns: {columns[:80]!r}.", "Somebody changed seal_part."
        )
    return columns


def _filled(text: str, words: Mapping[str, str]) -> str:
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text


def _seal(row: asyncpg.Record) -> Seal:
    names = ("seal_no", "until_seq", "until_cut_off_id", "previous", "digest")
    return Seal(*(row[name] for name in names))
