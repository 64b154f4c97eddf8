"""What a change would move in the books, for programs and for people."""

from collections.abc import Iterator, Mapping, Sequence

from ledger.domain.books.booking import CHART
from ledger.domain.books.moved import Moved
from ledger.domain.money import EXACT, plain
from ledger.flows.preview import Preview
from ledger.reports.report import ReportTable, Shown, Warned

_SUMS = ("before", "after", "difference")


def preview_json(seen: Preview) -> Mapping[str, object]:
    """Everything in it."""
    return {
        "accounts": [
            {
                **_moved(each),
                "booked_in": each.booked_in,
                "account": each.account,
                "name": CHART[each.account].name,
                "dimension": each.dimension,
            }
            for each in seen.accounts
        ],
        "charges": [{**_moved(each), "customer_id": each.customer_id} for each in seen.charges],
        "costs": [
            {**_moved(each), "line": each.line, "customer": each.customer, "kind": each.kind}
            for each in seen.costs
        ],
        "needs_reason": seen.needs_reason,
        "undone": list(seen.undone),
    }


def _moved(each: Moved) -> dict[str, str]:
    return {
        "entity_id": each.entity_id,
        "month": each.month,
        "currency": each.currency,
        **{name: plain(getattr(each, name).normalize(EXACT)) for name in _SUMS},
    }


def show_preview(seen: Preview) -> Iterator[Shown]:
    """What a person sees of it."""
    said = preview_json(seen)
    whose = ("entity_id", "month")
    later = any(each.booked_in != each.month for each in seen.accounts)
    account = (*(["booked_in"] if later else []), "account", "name", "dimension")
    if seen.accounts:
        yield _table("Booked", said["accounts"], (*whose, *account))
    if seen.charges:
        yield _table("Charged", said["charges"], (*whose, "customer_id"))
    if seen.costs:
        yield _table("Allocated", said["costs"], (*whose, "line", "customer", "kind"))
    if not (seen.accounts or seen.charges or seen.costs):
        yield "It would move nothing in the books."
    if seen.needs_reason is not None:
        yield Warned(f"It will need a reason. {seen.needs_reason}")
    yield from (Warned(f"not worked out: {line}") for line in seen.undone)
    yield "Nothing was entered."


def _table(title: str, rows: object, columns: Sequence[str]) -> ReportTable:
    names = (*columns, "currency", *_SUMS)
    assert isinstance(rows, list)
    cells = [[row[name] for name in names] for row in rows]
    heads = [name.removesuffix("_id") for name in names]
    first = (heads[len(columns) - 1], "difference")
    return ReportTable(title, heads, cells, numbers=len(_SUMS), first=first)
