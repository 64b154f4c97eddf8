"""Facts that lie as columns in one value: those of a large batch, and merged ones of many batches.

A chunk holds the facts of many customers. Who asks gets those whose usage keys the database lets
them see, because every reader but those of the whole books goes through `read_chunks`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from io import BytesIO
from typing import IO

import polars as pl

from ledger.domain.errors import ConflictError
from ledger.domain.metering.fact import Kind
from ledger.store.metering.fact_columns import SCHEMA
from ledger.store.queries import Connection, load_queries

CHUNKS = load_queries("metering/chunks")
# A merged chunk has every column but the day; the batch of a batch's own is said by its row too.
MERGED_COLUMNS = pl.Schema(
    {
        name: pl.Binary if name == "end_user" else dtype
        for name, dtype in SCHEMA.items()
        if name != "stored_day"
    }
)
COLUMNS = pl.Schema({n: dtype for n, dtype in MERGED_COLUMNS.items() if n != "batch_seq"})
# Beyond it zstd takes longer than it saves.
LEVEL = 3
HIGHEST = 2**63 - 1
EVER_SINCE = datetime.min.replace(tzinfo=UTC)
FOR_EVER = datetime.max.replace(tzinfo=UTC)
_UUID_PARTS = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))


class DamagedChunkError(ConflictError):
    """A chunk is not what was stored: it has the SHA-256 `actual` and not the one `stored`."""

    title = "Damaged facts"

    def __init__(self, chunk: "ChunkOctets", digest: bytes) -> None:
        self.table = "usage_chunk" if chunk.part is None else "merged_chunk"
        what = f"batch {chunk.batch_seq}" if chunk.part is None else f"merged chunk {chunk.part}"
        self.place = f"{what}, stored on {chunk.stored_day}"
        self.actual, self.stored = digest.hex(), chunk.sha256.hex()
        super().__init__(
            f"The facts of {self.place}, are not those that were stored: their SHA-256 differs.",
            "Restore the database from a backup; `tokenledger check` names all such facts.",
        )


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """Facts as columns, but for their batch, and what its row says of them; times are in UTC."""

    stored_day: date
    rows: int
    first_ordinal: int
    last_ordinal: int
    first_time: datetime
    last_time: datetime
    source_ids: Sequence[int]
    last_times: Sequence[datetime]
    suspended: int
    sha256: bytes
    facts: bytes

    @classmethod
    def of(cls, facts: pl.DataFrame, *, stored_day: date) -> "EncodedChunk":
        """Encode a frame that has every column, and `customer_id`; at least one fact."""
        said = _arrow_of(facts)
        ordinal, time = pl.col("ordinal"), pl.col("time")
        bounds = facts.select(
            first_ordinal=ordinal.min(),
            last_ordinal=ordinal.max(),
            first_time=time.min(),
            last_time=time.max(),
        ).row(0, named=True)
        stood = facts.filter(pl.col("kind") != int(Kind.REVERSAL))
        last = _last_of_sources(facts, bounds["last_time"])
        return cls(
            stored_day=stored_day,
            rows=facts.height,
            source_ids=last["source_id"].to_list(),
            last_times=last["time"].to_list(),
            suspended=stood["customer_id"].null_count(),
            sha256=sha256(said).digest(),
            facts=said,
            **bounds,
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk is, of which batches, how many facts it has, and how many of them waited for
    their customer; `part` is None of a batch's own, else which of the day's merged ones it is."""

    stored_day: date
    part: int | None
    first_batch_seq: int
    last_batch_seq: int
    rows: int
    suspended: int


@dataclass(frozen=True, slots=True)
class ChunkSearch:
    """Facts of some days and batches, the last ones included, and of times in [since, until).

    Of a customer, or of any: None.
    """

    since_day: date = date.min
    until_day: date = date.max
    since_seq: int = 0
    until_seq: int = HIGHEST
    since: datetime = EVER_SINCE
    until: datetime = FOR_EVER
    customer_id: str | None = None


@dataclass(frozen=True, slots=True)
class ChunkOctets:
    """A chunk as it is stored; decode it beside whatever else goes on."""

    stored_day: date
    part: int | None
    batch_seq: int | None
    sha256: bytes
    facts: bytes

    def read(
        self, columns: Iterable[str] = tuple(SCHEMA), wanted: pl.Expr | None = None
    ) -> pl.DataFrame:
        """Some columns of SCHEMA, of facts that are `wanted` by what the chunk itself holds.

        DamagedChunkError where they are not what was stored.
        """
        octets = self.verified()
        names = list(columns)
        outside = {"stored_day": self.stored_day, "batch_seq": self.batch_seq}
        outside = {name: said for name, said in outside.items() if said is not None}
        inside = [name for name in names if name not in outside]
        read = _read_arrow if self.part is None else _read_parquet
        facts = read(octets, inside, wanted)
        said = [
            pl.lit(outside[name], SCHEMA[name]).alias(name) for name in names if name in outside
        ]
        if "end_user" in names:
            said.append(_uuid_text("end_user"))
        # Each of these plans, which takes as long as to decode a column of a small chunk.
        whole = facts.with_columns(said) if said else facts
        return whole if whole.columns == names else whole.select(names)

    def verified(self) -> BytesIO:
        """The file that it is; DamagedChunkError where it is not what was stored."""
        digest = sha256(self.facts).digest()
        if digest != self.sha256:
            raise DamagedChunkError(self, digest)
        return BytesIO(self.facts)


@dataclass(slots=True)
class VisibleKeys:
    """Which usage keys whoever asks may see, as far as was asked; a role may be past all rules."""

    restricted: bool | None = None
    known: dict[int, bool] = field(default_factory=dict)

    async def are_restricted(self, connection: Connection) -> bool:
        """Whether they may not see all."""
        if self.restricted is None:
            self.restricted = bool(await CHUNKS["is_restricted"].value(connection))
        return self.restricted

    async def of(self, connection: Connection, facts: pl.DataFrame) -> pl.DataFrame:
        """Those of facts that they may see."""
        if not await self.are_restricted(connection):
            return facts
        keys = facts["usage_key_id"]
        asked = [key for key in keys.unique().to_list() if key not in self.known]
        rows = await CHUNKS["find_visible_keys"].rows(connection, usage_key_ids=asked)
        self.known.update(dict.fromkeys(asked, False))
        self.known.update({row["usage_key_id"]: True for row in rows})
        return facts.filter(keys.is_in([key for key, seen in self.known.items() if seen]))


async def insert_chunk(connection: Connection, chunk: EncodedChunk, *, batch_seq: int) -> None:
    """Store a batch's facts under its number."""
    await CHUNKS["insert_chunk"].run(connection, batch_seq=batch_seq, **asdict(chunk))


async def find_chunks(connection: Connection, search: ChunkSearch) -> list[Chunk]:
    """Where what is searched for may be, by the first batch of each."""
    return await CHUNKS["find_chunks"].values(connection, Chunk, **asdict(search))


async def find_batch_chunks(
    connection: Connection, batch_seqs: Sequence[int], *, merged: bool = False
) -> list[Chunk]:
    """Where the facts of some batches are, by the first batch of each; of `merged` ones alone."""
    return await CHUNKS["find_batch_chunks"].values(
        connection, Chunk, batch_seqs=batch_seqs, merged=merged
    )


async def fetch_chunk(connection: Connection, chunk: Chunk) -> ChunkOctets | None:
    """A chunk as it is stored, for readers of the whole books; None where its facts were merged
    since, or a file has its day."""
    if chunk.part is not None:
        return await CHUNKS["read_merged_chunk"].first(
            connection, ChunkOctets, stored_day=chunk.stored_day, part=chunk.part
        )
    return await CHUNKS["read_chunk"].first(
        connection, ChunkOctets, stored_day=chunk.stored_day, batch_seq=chunk.first_batch_seq
    )


async def read_chunks(
    connection: Connection,
    chunks: Iterable[Chunk],
    columns: Iterable[str] = tuple(SCHEMA),
    visible: VisibleKeys | None = None,
    wanted: pl.Expr | None = None,
) -> AsyncIterator[pl.DataFrame]:
    """Facts of chunks, one after the other, of the usage keys that whoever asks may see.

    `columns` has usage_key_id and batch_seq, `visible` what was asked before, `wanted` is asked of
    what chunks hold; DamagedChunkError where a chunk is not what was stored.
    """
    visible = visible or VisibleKeys()
    for chunk in chunks:
        octets = await fetch_chunk(connection, chunk)
        if octets is not None:
            facts = await asyncio.to_thread(octets.read, columns, wanted)
            yield await visible.of(connection, facts)
        elif chunk.part is None:
            async for facts in _read_merged_since(connection, chunk, columns, wanted):
                yield await visible.of(connection, facts)


async def _read_merged_since(
    connection: Connection, chunk: Chunk, columns: Iterable[str], wanted: pl.Expr | None
) -> AsyncIterator[pl.DataFrame]:
    """The facts of a batch, which were merged after its chunk was found: they are merged once."""
    own = pl.col("batch_seq") == chunk.first_batch_seq
    for merged in await find_batch_chunks(connection, [chunk.first_batch_seq], merged=True):
        octets = await fetch_chunk(connection, merged)
        if octets is not None:
            asked = own if wanted is None else own & wanted
            yield await asyncio.to_thread(octets.read, columns, asked)


async def count_chunk_facts(connection: Connection) -> int:
    """How many facts lie in chunks."""
    return int(await CHUNKS["count_chunk_facts"].value(connection))


def _last_of_sources(facts: pl.DataFrame, last: datetime) -> pl.DataFrame:
    """The last time of each source, of facts of which the very last is known."""
    sources = facts["source_id"]
    if sources.min() == sources.max():
        return pl.DataFrame([sources[:1], pl.Series("time", [last])])
    return facts.group_by("source_id").agg(pl.col("time").max()).sort("source_id")


def _arrow_of(facts: pl.DataFrame) -> bytes:
    """Facts as a batch's own chunk has them until it is merged: Arrow, which is written in a third
    of the time, and whose texts take as little as in Parquet in its oldest form."""
    octets = BytesIO()
    frame = pl.DataFrame(facts.select(*COLUMNS), schema_overrides=COLUMNS)
    frame.write_ipc(octets, compression="zstd", compat_level=pl.CompatLevel.oldest())
    return octets.getvalue()


def parquet_of(facts: pl.DataFrame) -> bytes:
    """Facts as a merged chunk has them: Parquet, with statistics of each column."""
    octets = BytesIO()
    frame = pl.DataFrame(facts.select(*MERGED_COLUMNS), schema_overrides=MERGED_COLUMNS)
    frame.write_parquet(octets, compression="zstd", compression_level=LEVEL, statistics=True)
    return octets.getvalue()


def _read_arrow(octets: BytesIO, columns: list[str], wanted: pl.Expr | None) -> pl.DataFrame:
    if wanted is None:
        return pl.read_ipc(octets, columns=columns)
    return pl.scan_ipc(octets).filter(wanted).select(columns).collect()


def _read_parquet(octets: BytesIO, columns: list[str], wanted: pl.Expr | None) -> pl.DataFrame:
    # To plan what reads all of it takes half as long again as to read it.
    if wanted is None:
        # By this thread alone: where many are read, others read the next ones meanwhile.
        return pl.read_parquet(octets, columns=columns, parallel="none")
    return pl.scan_parquet(octets).filter(wanted).select(columns).collect()


def scan_together(chunks: Sequence[BytesIO], *, merged: bool) -> pl.LazyFrame:
    """Verified chunks as one frame, merged ones or batches' own, with what they hold themselves."""
    files: list[IO[bytes]] = [*chunks]
    # By the thread that asks alone, as one is read.
    return pl.scan_parquet(files, parallel="none") if merged else pl.scan_ipc(files)


def _uuid_text(name: str) -> pl.Expr:
    octets = pl.col(name).bin.encode("hex")
    parts = [octets.str.slice(start, length) for start, length in _UUID_PARTS]
    return pl.concat_str(parts, separator="-").alias(name)
