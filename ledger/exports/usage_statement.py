"""What each line of an invoice was used for, event by event, as CSV; lines by number, events in
stored order. `quantity` is what the event adds to its line."""

from collections.abc import Iterable, Mapping, Set

from ledger.domain.billing.issued import IssuedLine, StoredInvoice
from ledger.domain.billing.traced import TracedEvent
from ledger.domain.metering.fact import Kind, status_of
from ledger.exports.csv_text import UNKNOWN, exact, guard, write_lines
from ledger.wire.rfc3339 import format_rfc3339

COLUMNS = (
    *("invoice", "line_no", "meter", "model", "tier", "currency", "unit_amount", "per"),
    *("quantity", "time", "source", "event_id", "kind", "status", "requests", "agent_run_id"),
    *("batch_seq", "ordinal", "used_by"),
)
LEAVES = {
    "input_uncached": "uncached",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write",
    "output_visible": "visible",
    "output_reasoning": "reasoning",
    "requests": "requests",
}
Extras = Mapping[tuple[int, int], Mapping[str, int]]


def statement_head() -> str:
    """The header line."""
    return write_lines([COLUMNS])


def statement_lines(
    invoice: StoredInvoice,
    line: IssuedLine,
    events: Iterable[TracedEvent],
    extras: Extras,
    apart: Set[str],
) -> str:
    """A row for each event behind a line; `extras` are those of its events, `apart` the parts of
    its meter that are lines of their own."""
    said = _line(invoice, line)
    return write_lines(
        [*said, *_event(line, each, _units(line, each, extras, apart))] for each in events
    )


def _units(line: IssuedLine, event: TracedEvent, extras: Extras, apart: Set[str]) -> int | None:
    said = extras.get(event.stored_at, {})
    leaf = LEAVES.get(line.key.meter)
    if leaf is None:
        return said.get(line.key.meter, 0)
    units: int | None = getattr(event, leaf)
    return None if units is None else units - sum(said.get(part, 0) for part in apart)


def statement_without_events(invoice: StoredInvoice, line: IssuedLine) -> str:
    """The row of a line that no event stands behind: a fee, or a minimum."""
    return write_lines([[*_line(invoice, line), str(line.quantity), *[""] * 9, line.key.used_by]])


def _line(invoice: StoredInvoice, line: IssuedLine) -> list[str]:
    key = line.key
    texts = (invoice.number, str(line.line_no), key.meter, key.model, key.tier)
    priced = (invoice.terms.priced_in, exact(line.unit_amount), str(line.per))
    return [*map(guard, texts), *priced]


def _event(line: IssuedLine, event: TracedEvent, units: int | None) -> list[str]:
    return [
        UNKNOWN if units is None else str(units),
        format_rfc3339(event.time),
        guard(event.source or ""),
        guard(event.event_id or ""),
        Kind(event.kind).name.lower(),
        status_of(event.flags) or "",
        str(event.requests),
        guard(event.agent_run_id or ""),
        str(event.batch_seq),
        str(event.ordinal),
        guard(line.key.used_by),
    ]
