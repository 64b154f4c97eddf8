"""Lines of a report as CSV: what stands in another object is a column of its own, named by both.

Of objects that are told apart by `kind` each is such an object; other lists have no column.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from ledger.exports.csv_text import Digits, guard, write_lines
from ledger.wire.plain import plain_value

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def items_csv(lines: Iterable[Mapping[str, object]]) -> str:
    """A header and a line for each of them, without what a spreadsheet would run."""
    rows = [dict(_columns(line)) for line in lines]
    every = dict.fromkeys(name for row in rows for name in row)
    # An object that is unknown in some rows is no column of others.
    names = [name for name in every if not any(other.startswith(f"{name}.") for other in every)]
    return write_lines([names, *([_cell(row.get(name)) for name in names] for row in rows)])


def _columns(item: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in item.items():
        if isinstance(value, Mapping):
            yield from _columns(value, f"{before}{name}.")
        elif isinstance(value, list):
            for each in value:
                if isinstance(each, Mapping) and "kind" in each:
                    rest = {key: part for key, part in each.items() if key != "kind"}
                    yield from _columns(rest, f"{before}{name}.{each['kind']}.")
        else:
            yield f"{before}{name}", value


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = str(plain_value(value))
    return Digits(text) if _NUMBER.fullmatch(text) else guard(text)
