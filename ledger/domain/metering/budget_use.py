"""What a batch adds to budgets: usage of customers who have any, and the reservations it names.

Invariant: it is summed of facts and their reversals, so that what budgets count is what stands.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ledger.domain.metering.rows import moment
from ledger.domain.metering.spread import METERS, window_of

_COUNTS = ("requests", *METERS)
_KEYS = ("usage_key_id", "agent_run_id")
_NEEDED = (*_KEYS, "customer_id", "time", "sign", *_COUNTS)


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """`moves` are signed sums by usage key, run and window, `named` reservations by customer."""

    moves: Sequence[Mapping[str, object]] = ()
    named: Sequence[Mapping[str, object]] = ()


NO_USE = BudgetUse()
NOTHING_NAMED = pl.DataFrame(schema={"customer_id": pl.String, "reservation_id": pl.String})


def budget_use(
    facts: Sequence[pl.DataFrame], naming: pl.DataFrame, budgeted: Collection[str]
) -> BudgetUse:
    """Of frames of facts with `sign`, and one of usage with the reservations it names.

    `budgeted` are customers that have a budget.
    """
    named = naming["reservation_id"]
    any_named = named.null_count() < len(named)
    if not budgeted and not any_named:
        return NO_USE
    return BudgetUse(_moves(facts, budgeted), _named(naming) if any_named else ())


def _moves(
    facts: Sequence[pl.DataFrame], budgeted: Collection[str]
) -> Sequence[Mapping[str, object]]:
    counted = pl.col("customer_id").is_in(sorted(budgeted))
    moved = pl.concat([frame.select(_NEEDED).filter(counted) for frame in facts])
    sums = moved.group_by(*_KEYS, window_of().alias("window")).agg(
        (pl.col(name) * pl.col("sign")).sum() for name in _COUNTS
    )
    return [
        {name: row[name] for name in (*_KEYS, *_COUNTS)}
        | {"used_at": moment(row["window"]).isoformat()}
        for row in sums.sort(*_KEYS, "window").iter_rows(named=True)
    ]


def _named(naming: pl.DataFrame) -> Sequence[Mapping[str, object]]:
    columns = ("customer_id", "reservation_id")
    known = naming.select(columns).drop_nulls().unique().sort(columns)
    return known.to_dicts()
