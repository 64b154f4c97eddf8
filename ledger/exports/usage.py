"""Tokens by quarter hour and key as CSV; usage of a customer nobody knows has no customer_id.

The last columns count requests that were estimated, cut short, or did not say their input, output,
cache reads, cache writes or reasoning; a count that no request of the line said is `unknown`.
Sorted by window_start and then by every column that says who and what.
"""

from collections.abc import Callable
from operator import attrgetter

from ledger.domain.books.exported import ExportedUsage
from ledger.domain.metering.fact import MARKS
from ledger.domain.metering.usage_mark import known_counts
from ledger.exports.csv_text import UNKNOWN, Column, Value, named, table

WHO = (
    *("customer_id", "customer_ref", "project_id", "api_key_id", "agent_id"),
    *("tier", "model", "adapter", "region"),
)
METERS = {
    "input_uncached": "uncached",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write",
    "output_visible": "visible",
    "output_reasoning": "reasoning",
}


def _known(name: str) -> Callable[[ExportedUsage], Value]:
    names = ("requests", name, *MARKS)
    counts_of = attrgetter(*names)

    def read(row: ExportedUsage) -> Value:
        count = known_counts(dict(zip(names, counts_of(row), strict=True)))[name]
        return UNKNOWN if count is None else count

    return read


COLUMNS: tuple[Column, ...] = (
    *named("window_start", *WHO, "context_band", "requests"),
    *((column, _known(meter)) for column, meter in METERS.items()),
    *named(*MARKS),
)
FORMAT = table("usage", "usage", lambda _: COLUMNS)
