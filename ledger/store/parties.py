"""Writes entities, customers and their names, and who wrote what by hand."""

from collections.abc import Mapping
from dataclasses import dataclass

from ledger.domain.author import Author
from ledger.domain.entity import LegalEntity
from ledger.store.dated import DatedTable
from ledger.store.queries import Connection, load_queries
from ledger.wire.logo import Logo

PARTIES = load_queries("parties")
ENTITY_DETAILS = DatedTable(
    "entity",
    ("entity_id",),
    PARTIES["find_open_entity_details"],
    PARTIES["supersede_entity_details"],
    PARTIES["insert_entity_detail"],
)
CUSTOMER_DETAILS = DatedTable(
    "customer",
    ("customer_id",),
    PARTIES["find_open_customer_details"],
    PARTIES["supersede_customer_details"],
    PARTIES["insert_customer_detail"],
)
ALIASES = DatedTable(
    "alias",
    ("alias",),
    PARTIES["find_open_aliases"],
    PARTIES["supersede_aliases"],
    PARTIES["insert_alias"],
)


@dataclass(frozen=True, slots=True)
class Entity:
    """What stays of an entity."""

    entity_id: str
    currency: str
    zone: str
    rounding: str
    invoice_prefix: str
    default_tier: str
    is_test: bool


@dataclass(frozen=True, slots=True)
class Customer:
    """What stays of a customer."""

    customer_id: str
    entity_id: str
    kind: str
    is_test: bool


async def insert_manual_write(
    connection: Connection,
    author: Author,
    *,
    batch_seq: int,
    action: str,
    subject: str,
    detail: Mapping[str, object],
) -> None:
    """Keep a write by hand."""
    await PARTIES["insert_manual_write"].run(
        connection,
        batch_seq=batch_seq,
        actor=author.actor,
        action=action,
        subject=subject,
        reason=author.reason,
        request_id=author.request_id,
        detail=dict(detail),
    )


async def count_manual_writes(connection: Connection, request_id: str) -> dict[str, int]:
    """How many writes by hand one request made, by what they did, the first first."""
    rows = await PARTIES["count_manual_writes"].rows(connection, request_id=request_id)
    return {row[0]: row[1] for row in rows}


async def find_entity(connection: Connection, entity_id: str) -> Entity | None:
    """What stays of an entity, or None."""
    return await PARTIES["find_entity"].first(connection, Entity, entity_id=entity_id)


async def insert_entity(
    connection: Connection, values: Mapping[str, object], *, batch_seq: int
) -> None:
    """Store a new entity."""
    await PARTIES["insert_entity"].run(connection, **values, batch_seq=batch_seq)


async def insert_logo(
    connection: Connection, entity_id: str, logo: Logo | None, *, batch_seq: int
) -> None:
    """Keep the logo of an entity from now on, or that it has none any more."""
    await PARTIES["insert_logo"].run(
        connection,
        entity_id=entity_id,
        media_type=logo.media_type if logo else None,
        content=logo.content if logo else None,
        batch_seq=batch_seq,
    )


async def find_logo(
    connection: Connection, entity_id: str, *, batch_seq: int | None = None
) -> Logo | None:
    """The logo of an entity as it was at a number of the stored order, or is; None without one."""
    return await PARTIES["find_logo"].first(
        connection, Logo, entity_id=entity_id, batch_seq=batch_seq
    )


async def find_customer(connection: Connection, customer_id: str) -> Customer | None:
    """What stays of a customer, or None."""
    return await PARTIES["find_customer"].first(connection, Customer, customer_id=customer_id)


async def insert_customer(
    connection: Connection, values: Mapping[str, object], *, batch_seq: int
) -> None:
    """Store a new customer."""
    await PARTIES["insert_customer"].run(connection, **values, batch_seq=batch_seq)


async def list_entities(connection: Connection) -> list[LegalEntity]:
    """Every entity, by id."""
    return await PARTIES["list_entities"].values(connection, LegalEntity)
