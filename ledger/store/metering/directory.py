"""Reads the slow facts that ingest needs, as one snapshot."""

from collections import defaultdict
from sys import intern

from ledger.domain.metering.directory import DatedName, Directory, SourceForm, TierRule
from ledger.domain.metering.times import micros
from ledger.store.queries import Connection, load_queries

DIRECTORY = load_queries("metering/directory")
_CUSTOMERS_AT_ONCE = 4_096


async def find_directory_version(connection: Connection) -> int:
    """The number that any change of a slow fact raises."""
    return int(await DIRECTORY["find_directory_version"].value(connection))


async def find_directory_changing(connection: Connection) -> bool:
    """Whether a change is under way whose number is out and whose rows are not."""
    return bool(await DIRECTORY["find_directory_changing"].value(connection))


async def read_directory(connection: Connection, version: int) -> Directory:
    """Everything ingest must know, marked with the version that was read before it; needs a
    transaction."""
    customers = await _read_customers(connection)
    tiers = await DIRECTORY["list_entity_tiers"].rows(connection)
    key_tiers = await DIRECTORY["list_key_tiers"].rows(connection)
    members = await DIRECTORY["list_members"].rows(connection)
    budgeted = await find_budgeted(connection)
    of_bound: dict[int, dict[str, str]] = defaultdict(dict)
    for row in await DIRECTORY["list_source_forms"].rows(connection):
        of_bound[row["source_id"]][row["owner"]] = row["form"]
    sources = await DIRECTORY["list_sources"].rows(connection)
    return Directory(
        version=version,
        customers=customers,
        names=await _read_names(connection),
        key_tiers={row["key_id"]: intern(row["tier"]) for row in key_tiers},
        tier_rules=await _read_tier_rules(connection),
        members=frozenset((row["member"], row["entity_id"]) for row in members),
        budgeted=budgeted,
        entity_tiers={row["entity_id"]: row["default_tier"] for row in tiers},
        sources={
            row["source"]: SourceForm(
                row["source_id"], row["form"], of_bound.get(row["source_id"], {})
            )
            for row in sources
        },
    )


async def _read_customers(connection: Connection) -> dict[str, str]:
    # Some at a time: among rows of very many at once their names would lie far apart for ever.
    customers: dict[str, str] = {}
    async for page in DIRECTORY["list_customers"].pages(connection, _CUSTOMERS_AT_ONCE):
        customers |= {row["customer_id"]: intern(row["entity_id"]) for row in page}
    return customers


async def find_budgeted(connection: Connection) -> frozenset[str]:
    """Customers who have a budget, or somebody above them has."""
    rows = await DIRECTORY["list_budgeted"].rows(connection)
    return frozenset(row["customer_id"] for row in rows)


async def _read_names(connection: Connection) -> dict[str, list[DatedName]]:
    names: dict[str, list[DatedName]] = defaultdict(list)
    for row in await DIRECTORY["list_names"].rows(connection):
        until = None if row["until"] is None else micros(row["until"])
        names[row["alias"]].append(DatedName(row["customer_id"], micros(row["since"]), until))
    return dict(names)


async def _read_tier_rules(connection: Connection) -> tuple[TierRule, ...]:
    rows = await DIRECTORY["list_tier_rules"].rows(connection)
    return tuple(
        TierRule(
            deployment_id=row["deployment_id"],
            entity_id=row["entity_id"],
            model=row["model"],
            tier=row["tier"],
            instances=tuple(row["engine_instances"]),
            since=micros(row["since"]),
            until=None if row["until"] is None else micros(row["until"]),
        )
        for row in rows
    )
