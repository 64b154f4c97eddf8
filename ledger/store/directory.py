"""Reads the slow facts that ingest must know."""

from collections import defaultdict

from ledger.domain.directory import Alias, Directory, Serving
from ledger.store.queries import Connection, load_queries

QUERIES = load_queries("directory")


async def read_directory_version(connection: Connection) -> int:
    """A number that any change of the slow facts raises."""
    return int(await QUERIES["read_directory_version"].value(connection))


async def read_directory(connection: Connection, version: int) -> Directory:
    """The snapshot as of now, labelled with a version read before it."""
    aliases: dict[str, list[Alias]] = defaultdict(list)
    for row in await QUERIES["list_aliases"].rows(connection):
        aliases[row["alias"]].append(Alias(row["customer_id"], row["valid_from"], row["valid_to"]))
    return Directory(
        version=version,
        entity_of={
            row["customer_id"]: row["entity_id"]
            for row in await QUERIES["list_customers"].rows(connection)
        },
        aliases=aliases,
        default_tiers={
            row["entity_id"]: row["default_tier"]
            for row in await QUERIES["list_default_tiers"].rows(connection)
        },
        key_tiers={
            row["key_id"]: row["tier"] for row in await QUERIES["list_key_tiers"].rows(connection)
        },
        servings=[
            Serving(
                row["model"],
                row["tier"],
                tuple(row["engine_instances"]),
                row["valid_from"],
                row["valid_to"],
            )
            for row in await QUERIES["list_servings"].rows(connection)
        ],
    )
