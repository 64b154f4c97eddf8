"""Keeps the logo of an entity: it stands above every document that goes out from then on."""

import asyncio
from hashlib import sha256

from ledger.documents.logo import check_drawn
from ledger.domain.author import Author
from ledger.domain.errors import InvalidInputError, NotFoundError
from ledger.flows.reference.supersede import keep_write, writing
from ledger.store import parties
from ledger.store.connect import draw_batch_seq
from ledger.store.queries import Connection
from ledger.wire.errors import FieldError
from ledger.wire.logo import read_logo


async def enter_logo(
    connection: Connection, entity_id: str, content: bytes, author: Author
) -> str | None:
    """Keep a PNG or SVG as the logo of an entity, or without bytes that it has none any more; its
    SHA-256. The same again writes nothing.

    InvalidInputError says what of an image is refused; NotFoundError without such an entity.
    """
    try:
        logo = read_logo(content) if content else None
    except FieldError as error:
        asked = error.action[0].upper() + error.action[1:]
        raise InvalidInputError("The logo is refused.", f"{asked}.", "logo") from error
    if logo is not None:
        await asyncio.to_thread(check_drawn, logo)
    digest = sha256(content).hexdigest() if content else None
    async with writing(connection):
        if await parties.find_entity(connection, entity_id) is None:
            raise NotFoundError(f"There is no entity {entity_id}.", "List them to see their ids.")
        if await parties.find_logo(connection, entity_id) == logo:
            return digest
        batch_seq = await draw_batch_seq(connection)
        await parties.insert_logo(connection, entity_id, logo, batch_seq=batch_seq)
        await keep_write(
            connection,
            author,
            batch_seq=batch_seq,
            action="enter logo",
            subject=entity_id,
            detail={"bytes": len(content), "sha256": digest},
        )
    return digest
