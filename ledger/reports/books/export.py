"""Reads what an export is made of, all of it at one cut-off, and writes the file."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeAlias

from ledger.domain.errors import InvalidInputError, MissingInputError, NotFoundError
from ledger.exports import EXPORT_FORMATS
from ledger.exports.bundle import ExportBundle, Row
from ledger.reports.cost.margin import margin_report
from ledger.store.books import export, journal
from ledger.store.connect import CutOff
from ledger.store.cost import margin
from ledger.store.queries import Connection

Rows: TypeAlias = Sequence[Row]
Read: TypeAlias = Callable[..., Awaitable[Rows]]
SERVICE, ISSUE = "service", "issue"
INVOICES_BY = (SERVICE, ISSUE)
OF_INVOICES = ("invoices", "invoice_lines")
MARGIN_BY = ("customer", "tier", "model", "agent")


@dataclass(frozen=True, slots=True)
class How:
    """`raw` leaves text as it is, for programs; `invoices_by` says which are of a period.

    Invoices and their lines are of usage in it (`service`), or were issued in it (`issue`).
    InvalidInputError where it is neither.
    """

    raw: bool = False
    invoices_by: str = SERVICE

    def __post_init__(self) -> None:
        if self.invoices_by not in INVOICES_BY:
            raise InvalidInputError(
                f"Invoices are not chosen by {self.invoices_by!r}.",
                f"Choose by {' or '.join(INVOICES_BY)}.",
                "invoices_by",
            )


async def export_files(
    connection: Connection,
    *,
    entity_id: str,
    since: datetime,
    until: datetime,
    cut_off: CutOff,
    formats: Sequence[str],
    how: How = How(),
) -> dict[str, bytes]:
    """Files by name; the same cut-off gives the same bytes.

    InvalidInputError names an unknown format, NotFoundError an unknown entity; a margin whose cost
    is incomplete is refused as the margin report refuses it.
    """
    unknown = [name for name in formats if name not in EXPORT_FORMATS]
    if unknown:
        raise InvalidInputError(
            f"There is no export {', '.join(unknown)}.",
            f"Use {', '.join(EXPORT_FORMATS)}.",
            "format",
        )
    chosen = [EXPORT_FORMATS[name] for name in formats]
    bundle = await read_bundle(
        connection,
        entity_id=entity_id,
        since=since,
        until=until,
        cut_off=cut_off,
        parts=sorted({each.part for each in chosen}),
        how=how,
    )
    return {each.filename: each.content(bundle) for each in chosen}


async def export_everything(
    connection: Connection, *, cut_off: CutOff, **asked: Any
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Every format that has what it needs, as `export_files` gives it, and why others have not."""
    files: dict[str, bytes] = {}
    left_out: dict[str, str] = {}
    for each in EXPORT_FORMATS.values():
        try:
            files |= await export_files(connection, cut_off=cut_off, formats=[each.name], **asked)
        except MissingInputError as error:
            left_out[each.filename] = str(error)
    return files, left_out


async def read_bundle(
    connection: Connection,
    *,
    entity_id: str,
    since: datetime,
    until: datetime,
    cut_off: CutOff,
    parts: Sequence[str],
    how: How = How(),
) -> ExportBundle:
    """The named parts of an entity's books over [since, until)."""
    entity = await export.find_entity(connection, entity_id=entity_id, at=cut_off.drawn_at)
    if entity is None:
        raise NotFoundError(f"There is no entity {entity_id}.", "Enter it, or look at its id.")
    within = {"entity_id": entity_id, "since": since, "until": until}
    read: dict[str, Rows] = {}
    for part in parts:
        chosen = {"by_service": how.invoices_by == SERVICE} if part in OF_INVOICES else {}
        read[part] = await PARTS[part](connection, **within, **chosen, cut_off=cut_off)
    return ExportBundle(
        entity_id=entity_id,
        entity_name=entity["name"],
        currency=entity["currency"],
        zone=entity["zone"],
        since=since,
        until=until,
        batch_seq=cut_off.batch_seq,
        parts=read,
        raw=how.raw,
    )


def _at_batch(read: Callable[..., Awaitable[Iterable[Any]]]) -> Read:
    async def at(connection: Connection, *, cut_off: CutOff, **within: Any) -> Rows:
        rows = await read(connection, **within, batch_seq=cut_off.batch_seq)
        return [dict(row) for row in rows]

    return at


async def _margins(connection: Connection, *, cut_off: CutOff, **within: Any) -> Rows:
    report = await margin_report(connection, **within, cut_off=cut_off, by=MARGIN_BY)
    return [
        {
            **dict(zip(MARGIN_BY, row.group, strict=True)),
            "currency": report.currency,
            "input_tokens": row.input_tokens,
            "input_cache_read": row.cache_read,
            "output_tokens": row.output,
            "unpriced_tokens": row.unpriced_tokens,
            "energy_mj": row.energy_mj,
            "revenue": row.revenue,
            "electricity": row.electricity,
            "gpu_cost": row.gpu_cost,
            "cost_before_idle": row.cost_before_idle,
            "idle_share": row.idle_share,
            "cost": row.cost,
        }
        for row in report.rows
    ]


PARTS: Mapping[str, Read] = MappingProxyType(
    {
        "journal": _at_batch(journal.list_journal_lines),
        "invoices": _at_batch(export.find_issued_invoices),
        "invoice_lines": _at_batch(export.find_issued_lines),
        "usage": _at_batch(export.find_usage),
        "costs": _at_batch(margin.sum_cost_lines),
        "margins": _margins,
    }
)
