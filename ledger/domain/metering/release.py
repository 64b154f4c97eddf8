"""Turns facts in suspense into their reversals and the same facts under a known customer's key.

Invariant: what is reversed equals what is entered; only the key differs, and the tier where the
entity's default had said it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from ledger.domain.metering.directory import Directory
from ledger.domain.metering.fact import Kind, TierSource, tier_source, with_tier_source
from ledger.domain.metering.key import UsageKeyRow, usage_key
from ledger.domain.metering.rows import FACTS

_ORIGINS = pl.Schema({"ordinal": pl.Int32(), "batch_seq": pl.Int64(), "fact_ordinal": pl.Int64()})


@dataclass(frozen=True, slots=True)
class Release:
    """Facts to write (reversals first), the keys they need, and what takes the place of what.

    `stored_ids` are (ordinal here, batch_seq there, ordinal there).
    """

    facts: pl.DataFrame
    keys: list[UsageKeyRow]
    stored_ids: list[tuple[int, int, int]]

    @property
    def origins(self) -> pl.DataFrame:
        """Where each fact to write was stored before: its ordinal, and the fact's batch and
        ordinal."""
        count = len(self.stored_ids)
        stored = [(by - back, *at) for back in (count, 0) for by, *at in self.stored_ids]
        return pl.DataFrame(stored, _ORIGINS, orient="row")


def release_facts(
    page: pl.DataFrame, keys: Mapping[int, UsageKeyRow], directory: Directory
) -> Release:
    """Those facts of a page whose customer is known for the moment they ended."""
    released = [_resolve(row, keys, directory) for row in page.iter_rows(named=True)]
    known = page.filter(pl.Series([fact is not None for fact in released], dtype=pl.Boolean))
    new = [fact for fact in released if fact is not None]
    count = len(new)
    reversed_ = known.with_columns(
        ordinal=pl.int_range(count, dtype=pl.Int32),
        kind=pl.lit(int(Kind.REVERSAL), pl.Int8),
        sign=pl.lit(-1, pl.Int64),
    )
    entered = known.with_columns(
        pl.Series("usage_key_id", [key.usage_key_id for key, _ in new], pl.Int64),
        pl.Series("customer_id", [key.customer_id for key, _ in new], pl.String),
        pl.Series("flags", [flags for _, flags in new], pl.Int32),
        ordinal=pl.int_range(count, 2 * count, dtype=pl.Int32),
        kind=pl.lit(int(Kind.RELEASE), pl.Int8),
        sign=pl.lit(1, pl.Int64),
    )
    stored_ids = known.select("batch_seq", "ordinal").rows()
    return Release(
        facts=pl.concat([reversed_.select(FACTS), entered.select(FACTS)]),
        keys=sorted({key for key, _ in new}, key=lambda key: key.usage_key_id),
        stored_ids=[(count + n, seq, ordinal) for n, (seq, ordinal) in enumerate(stored_ids)],
    )


def _resolve(
    row: Mapping[str, object], keys: Mapping[int, UsageKeyRow], directory: Directory
) -> tuple[UsageKeyRow, int] | None:
    old = keys[int(str(row["usage_key_id"]))]
    moment, flags = int(str(row["time"])), int(str(row["flags"]))
    customer_id = directory.customer_of(old.customer_ref, moment)
    if customer_id is None:
        return None
    entity_id = directory.customers[customer_id]
    tier, said_by = old.tier, tier_source(flags)
    if said_by is TierSource.ENTITY:
        tier, said_by = directory.tier_of(
            "",
            api_key_id=old.api_key_id,
            instance=str(row["engine_instance"]),
            model=old.model,
            entity=entity_id,
            moment=moment,
        )
    key = usage_key(
        entity_id=entity_id,
        customer_id=customer_id,
        who=(old.customer_ref, old.project_id, old.api_key_id, old.agent_id),
        tier=tier,
        what=(old.model, old.adapter, old.region),
        context_band=old.context_band,
        outcomes=old.outcomes,
    )
    return key, with_tier_source(flags, said_by)
