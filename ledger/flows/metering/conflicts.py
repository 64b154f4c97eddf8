"""Conflicts: what both sides said, and which of them it was."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ledger.domain.author import Author, check_reason
from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ledger.domain.metering.directory import Directory
from ledger.domain.metering.identities import AWAITED, EventId, same_content
from ledger.domain.metering.judge import KEYED, keyed_rows
from ledger.domain.metering.permission import Binding, Fields, Permission
from ledger.domain.metering.prepare import Prepared
from ledger.domain.metering.record import ItemOutcome, Record
from ledger.domain.metering.target import CorrectionTarget
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.ingest import prepare_records, store_prepared
from ledger.flows.metering.limits import IngestLimits
from ledger.store.metering.conflicts import (
    FoundConflict,
    StoredItem,
    find_conflict,
    insert_resolution,
    list_stored,
)
from ledger.store.metering.correction import find_corrections
from ledger.store.metering.event_keys import find_event_keys
from ledger.store.queries import Connection
from ledger.wire.limits import CORRECTION, USAGE

Resolution = Literal["kept", "corrected", "resent"]
RESOLUTIONS: tuple[Resolution, ...] = ("kept", "corrected", "resent")
# Of the ledger's own, with ids of their own: a numbered source takes no single events.
SOURCE = "/tokenledger/conflicts"
_REVISION = re.compile(r"(.+)@\d+", re.DOTALL)
_ANOTHER = "Name another."
_DONE = {"created", "suspense", "superseded", "duplicate"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A conflict, the events that were offered (None is no longer kept) and what is stored."""

    conflict: FoundConflict
    offered: Sequence[Mapping[str, Any]] | None
    stored: Sequence[StoredItem]


async def show_conflict(connection: Connection, conflict_id: int) -> Shown:
    """What both sides of a conflict said; NotFoundError where there is none."""
    conflict = await find_conflict(connection, conflict_id)
    if conflict is None:
        raise NotFoundError(f"There is no conflict {conflict_id}.", "List them.")
    stored = await list_stored(
        connection,
        batch_seq=conflict.stored_batch_seq,
        first=conflict.stored_ordinal,
        items=conflict.items,
    )
    owner = "" if conflict.binding is None else Binding.from_fields(conflict.binding).owner
    if owner:
        conflict = replace(conflict, form=(conflict.of_bound or {}).get(owner))
    offered = None if conflict.offered is None else _events(conflict.offered)
    return Shown(conflict, offered, stored)


async def resolve_conflict(  # noqa: PLR0913  # what is decided, by whom, and beside what
    connection: Connection,
    conflict_id: int,
    resolution: Resolution,
    author: Author,
    *,
    event_id: str | None = None,
    directory: DirectoryCache,
    now: datetime,
    limits: IngestLimits,
    seal: Callable[[Sequence[ItemOutcome]], Awaitable[None]] | None = None,
) -> Sequence[ItemOutcome]:
    """Say which side it was: `kept` what is stored, `corrected` by what was offered, or `resent`
    as another event under `event_id`. Returns what became of events that were sent.

    NotFoundError, ConflictError where it was resolved before, or what was offered is not kept or is
    refused; InvalidInputError where a reason or an id lacks. Sending again is safe, and reaches no
    further than the key it was offered with. `seal` is called with what is returned, in the
    transaction that resolves.
    """
    check_reason(author)
    shown = await show_conflict(connection, conflict_id)
    if shown.conflict.resolution is not None:
        raise ConflictError(
            f"Conflict {conflict_id} was resolved as {shown.conflict.resolution} by"
            f" {shown.conflict.resolved_by}.",
            "Look at it.",
        )
    outcomes: Sequence[ItemOutcome] = []
    if resolution != "kept":
        events = await _to_send(connection, shown, resolution, event_id)
        body = b"\n".join(json.dumps(event).encode() for event in events)
        allowed = _permission(shown.conflict.binding, await directory.read(connection))
        record = Record(
            body,
            transport="internal",
            position=f"conflict/{conflict_id}",
            actor=author.actor,
            permission=allowed,
        )
        prepared = await prepare_records([record], now=now, limits=limits)
        if resolution == "resent":
            await _check_free(connection, shown.conflict, prepared)
        (answered,) = await store_prepared(
            connection, prepared, directory=directory, now=now, limits=limits
        )
        outcomes = list(answered.items())
        _check_taken(conflict_id, outcomes)
    async with connection.transaction():
        await insert_resolution(connection, conflict_id, resolution, author, now=now)
        if seal is not None:
            await seal(outcomes)
    return outcomes


def _permission(bound_to: Fields | None, known: Directory) -> Permission | None:
    """What its sender may, and besides speak in the source that corrections by hand have."""
    if bound_to is None:
        return None
    binding = Binding.from_fields(bound_to)
    sources = None if binding.sources is None else binding.sources | {SOURCE}
    return replace(binding, sources=sources).permission(known)


async def _check_free(connection: Connection, conflict: FoundConflict, prepared: Prepared) -> None:
    """InvalidInputError where an id is another event's already: sent, it would only be another
    conflict. What was sent before with this content is no other."""
    if conflict.form != KEYED:
        return
    rows = keyed_rows(prepared).join(prepared.own, on="row")
    offered = {
        EventId(conflict.source_id, event_id): UUID(bytes=digest)
        for event_id, digest in rows.select("id", "digest").iter_rows()
    }
    for event, stored in (await find_event_keys(connection, list(offered))).items():
        if stored.digest != AWAITED and not same_content(stored.digest, offered[event]):
            raise InvalidInputError(f"{event.event_id} is an id that is taken.", _ANOTHER, "id")


def _check_taken(conflict_id: int, outcomes: Sequence[ItemOutcome]) -> None:
    refused = [outcome for outcome in outcomes if outcome.outcome not in _DONE]
    if refused:
        outcome = refused[0]
        raise ConflictError(
            f"Of conflict {conflict_id} {len(refused)} of {len(outcomes)} events were not taken,"
            f" the first as {outcome.outcome}: {outcome.detail or outcome.event_id}.",
            "Give another id, or resolve it as kept.",
        )


async def _to_send(
    connection: Connection, shown: Shown, resolution: Resolution, event_id: str | None
) -> list[dict[str, Any]]:
    conflict = shown.conflict
    if shown.offered is None or conflict.truncated:
        raise ConflictError(
            f"What was offered in conflict {conflict.conflict_id} is not kept in full.",
            "Have its sender send it again under another id, and resolve this one as kept.",
        )
    events = [dict(event) for event in shown.offered]
    if resolution == "resent":
        return _under(events, conflict, event_id)
    if any(event.get("type") not in (USAGE, CORRECTION) for event in events):
        raise ConflictError(
            "Only usage can be corrected: a reading stays as it was read.", "Resolve it as kept."
        )
    return await _corrections(connection, events, conflict)


def _under(
    events: Sequence[dict[str, Any]], conflict: FoundConflict, event_id: str | None
) -> list[dict[str, Any]]:
    if not event_id:
        raise InvalidInputError("No id is given.", "Name the id it is to have.", "id")
    if conflict.form == KEYED and event_id == conflict.event_id:
        raise InvalidInputError(f"{event_id} is the id that is taken.", _ANOTHER, "id")
    if any(event.get("type") == CORRECTION for event in events):
        raise ConflictError(
            "A correction is told from others by what it corrects and its revision, and by no id.",
            "Resolve it as corrected, or as kept.",
        )
    source = conflict.source if conflict.form == KEYED else SOURCE
    several = len(events) > 1
    return [
        event | {"id": f"{event_id}.{n}" if several else event_id, "source": source}
        for n, event in enumerate(events)
    ]


async def _corrections(
    connection: Connection, events: Sequence[dict[str, Any]], conflict: FoundConflict
) -> list[dict[str, Any]]:
    keyed = conflict.form == KEYED
    names = _targets(events, conflict)
    targets = [CorrectionTarget(conflict.source_id, name, keyed=keyed) for name in names]
    standing = await find_corrections(connection, targets)
    corrections = []
    for n, (event, target) in enumerate(zip(events, targets, strict=True)):
        highest = max((revision.revision for revision in standing.get(target, [])), default=0)
        data = event["data"] | {
            "supersedes": target.target,
            "supersedes_source": conflict.source,
            "revision": highest + 1,
        }
        own = {"id": f"conflict-{conflict.conflict_id}.{n}", "source": SOURCE}
        corrections.append(event | own | {"type": CORRECTION, "data": data})
    return corrections


def _targets(events: Sequence[dict[str, Any]], conflict: FoundConflict) -> list[str]:
    """What each offered event says anew: what came under its id, its place, or what it corrects."""
    name = conflict.event_id
    corrects = any(event["type"] == CORRECTION for event in events)
    revision = _REVISION.fullmatch(name) if corrects and len(events) == 1 else None
    if revision is not None:
        return [revision[1]]
    if corrects:
        raise ConflictError(
            "What was offered corrects another event itself.",
            "Send a correction with a higher revision, and resolve this one as kept.",
        )
    is_sequenced = conflict.form != KEYED
    return [f"{name}/{n}" if is_sequenced else name for n in range(len(events))]


def _events(offered: str) -> list[Mapping[str, Any]]:
    return [_event(line) for line in offered.split("\n")]


def _event(line: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"unread": line}
