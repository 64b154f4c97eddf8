"""Iceberg's metadata of archived days: Spark, Trino, DuckDB and others read a table of them, and
skip the days a question is not about.

The files stay as they are. Each snapshot says of the days it adds the SHA-256 that the database
holds of their file; a table that says another of any is begun anew.
"""

from collections.abc import Mapping, Sequence

import polars as pl
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.table import Table

from ledger.domain.errors import UnavailableError
from ledger.store.metering.archive_files import ARCHIVED_SCHEMAS
from ledger.store.metering.archive_location import Location, ObjectPath
from ledger.store.metering.iceberg_files import ArchiveFiles, address_of, location_at
from ledger.store.metering.retention import ArchivedDay

NAMESPACE = "tokenledger"
PARTITION = "stored_day"
SHA256_OF = "tokenledger.sha256."
# Readers that are given the table's folder look here for the metadata that holds.
HINT, METADATA = "version-hint.text", ".metadata.json"


def describe_table(folder: Location, table: str, days: Sequence[ArchivedDay]) -> Location:
    """The metadata of a table in `folder` that holds these days and no others, made where it is not
    there; UnavailableError where it cannot be written."""
    try:
        return _describe(folder / table, table, days)
    except OSError as error:
        raise UnavailableError(
            f"The days are archived, but Iceberg's metadata of {table} cannot be written: {error}.",
            "Make room, and run again.",
        ) from error


def _describe(home: Location, table: str, days: Sequence[ArchivedDay]) -> Location:
    wanted = {address_of(day.path): day.sha256.hex() for day in days}
    described = _load(home, table)
    told = _told(described) if described is not None else {}
    if described is None or any(wanted.get(path) != sha256 for path, sha256 in told.items()):
        described, told = _create(home, table), {}
    new = {path: sha256 for path, sha256 in wanted.items() if path not in told}
    if new:
        said = {f"{SHA256_OF}{path}": sha256 for path, sha256 in new.items()}
        described.add_files(list(new), snapshot_properties=said, check_duplicate_files=False)
    metadata = location_at(described.metadata_location)
    _point_at(metadata)
    return metadata


def _catalog() -> InMemoryCatalog:
    files = f"{ArchiveFiles.__module__}.{ArchiveFiles.__name__}"
    catalog = InMemoryCatalog("archive", **{"py-io-impl": files})
    catalog.create_namespace(NAMESPACE)
    return catalog


def _load(home: Location, table: str) -> Table | None:
    hint = home / "metadata" / HINT
    if not hint.is_file():
        return None
    metadata = hint.with_name(f"{_text(hint).strip()}{METADATA}")
    if not metadata.is_file():
        return None
    return _catalog().register_table((NAMESPACE, table), address_of(metadata))


def _create(home: Location, table: str) -> Table:
    empty = pl.DataFrame(schema=ARCHIVED_SCHEMAS[table]).to_arrow()
    catalog = _catalog()
    plain = catalog.create_table(
        (NAMESPACE, table),
        empty.schema,
        location=address_of(home),
        # A run adds a manifest; that a year of them is read at once, they are merged.
        properties={"commit.manifest-merge.enabled": "true"},
    )
    with plain.update_spec() as spec:
        spec.add_identity(PARTITION)
    return plain


def _told(table: Table) -> Mapping[str, str]:
    """The SHA-256 of each file that is in the table, by its address."""
    return {
        name.removeprefix(SHA256_OF): sha256
        for snapshot in table.snapshots()
        if snapshot.summary is not None
        for name, sha256 in snapshot.summary.additional_properties.items()
        if name.startswith(SHA256_OF)
    }


def _text(path: Location) -> str:
    if isinstance(path, ObjectPath):
        return b"".join(path.pieces()).decode()
    return path.read_text(encoding="utf-8")


def _point_at(metadata: Location) -> None:
    hint, text = metadata.with_name(HINT), metadata.name.removesuffix(METADATA)
    if isinstance(hint, ObjectPath):
        hint.put(text.encode())
        return
    unfinished = hint.with_name(HINT + ".tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(hint)
