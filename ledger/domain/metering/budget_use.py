"""What a batch adds to budgets: usage of customers who have any, and the reservations it names.

Invariant: it is summed of facts and their reversals, so that what budgets count is what stands.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ledger.domain.metering.rows import moment
from ledger.domain.metering.spread import METERS, window_of

_COUNTS = ("requests", *METERS)
_KEYS = ("usage_key_id", "agent_run_id")
_GROUP = (*_KEYS, window_of().alias("window"))
_NEEDED = (*_KEYS, "customer_id", "ordinal", "time", "sign", *_COUNTS)


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """`moves` are signed sums by usage key, run and window, with `extras` by meter where there are
    any; `named` reservations by customer."""

    moves: Sequence[Mapping[str, object]] = ()
    named: Sequence[Mapping[str, object]] = ()


NO_USE = BudgetUse()
NOTHING_NAMED = pl.DataFrame(schema={"customer_id": pl.String, "reservation_id": pl.String})


def budget_use(
    facts: Sequence[pl.DataFrame],
    naming: pl.DataFrame,
    budgeted: Collection[str],
    extras: pl.DataFrame | None = None,
) -> BudgetUse:
    """Of frames of facts with `sign`, and one of usage with the reservations it names.

    `budgeted` are customers that have a budget, `extras` what of them facts count, by ordinal.
    """
    named = naming["reservation_id"]
    any_named = named.null_count() < len(named)
    if not budgeted and not any_named:
        return NO_USE
    return BudgetUse(_moves(facts, budgeted, extras), _named(naming) if any_named else ())


def _moves(
    facts: Sequence[pl.DataFrame], budgeted: Collection[str], extras: pl.DataFrame | None
) -> Sequence[Mapping[str, object]]:
    counted = pl.col("customer_id").is_in(sorted(budgeted))
    moved = pl.concat([frame.select(_NEEDED).filter(counted) for frame in facts])
    sums = moved.group_by(*_GROUP).agg((pl.col(name) * pl.col("sign")).sum() for name in _COUNTS)
    beside = {} if extras is None else _beside(moved.join(extras, on="ordinal"))
    return [
        {name: row[name] for name in (*_KEYS, *_COUNTS)}
        | {"used_at": moment(row["window"]).isoformat()}
        | _extras_at(beside, row)
        for row in sums.sort(*_KEYS, "window").iter_rows(named=True)
    ]


def _beside(counted: pl.DataFrame) -> Mapping[tuple[object, ...], Mapping[str, int]]:
    """Signed sums of extras by meter, of each group."""
    sums = counted.group_by(*_GROUP, "meter").agg((pl.col("quantity") * pl.col("sign")).sum())
    beside: dict[tuple[object, ...], dict[str, int]] = defaultdict(dict)
    for *group, meter, quantity in sums.sort("meter").iter_rows():
        if quantity:
            beside[tuple(group)][meter] = quantity
    return beside


def _extras_at(
    beside: Mapping[tuple[object, ...], Mapping[str, int]], row: Mapping[str, object]
) -> dict[str, object]:
    extras = beside.get((*(row[name] for name in _KEYS), row["window"]))
    return {"extras": extras} if extras else {}


def _named(naming: pl.DataFrame) -> Sequence[Mapping[str, object]]:
    columns = ("customer_id", "reservation_id")
    known = naming.select(columns).drop_nulls().unique().sort(columns)
    return known.to_dicts()
