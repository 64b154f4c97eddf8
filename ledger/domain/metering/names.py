"""Who, what and where of an event: the names it says, and a digest of them by which they are known
again.

Invariant: rows have equal digests where all their names are equal; digests are made once for each
combination of a batch, not for each row.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import polars as pl

from ledger.domain.frames import rows_at, with_series
from ledger.domain.metering.columns import NAMES
from ledger.domain.metering.numbering import first_rows_of
from ledger.domain.metering.texts import digest_texts

# Who, what and where of an event, once resolved as far as it says.
WHO = ("customer_ref", "project_id", "api_key_id", "agent_id")
WHAT = ("service_tier_served", "model", "adapter", "region", "engine_instance")
# The two words of a row's digest.
DIGEST = ("names_low", "names_high")
# Tag of each name in the digest; a tag is never reused.
_TAGS: Mapping[str, str] = {
    **dict(zip(WHO, ("c", "p", "a", "g"), strict=True)),
    **dict(zip(WHAT, ("st", "m", "ad", "r", "e"), strict=True)),
}


@lru_cache(256)
def names(said: frozenset[str]) -> Mapping[str, pl.Expr]:
    """Who is billed (`customer_ref`: the data's customer, else the subject), the model, and the
    other names, empty where nobody said; over the columns of which some row says something."""
    texts = ("project_id", "api_key_id", "agent_id", "adapter", "region", "engine_instance")
    named = {
        "customer_ref": ("customer_id", "subject"),
        "model": ("served_model", "response_model", "request_model"),
        **{name: (name,) for name in (*texts, "service_tier_served")},
    }
    return {name: _first(said, columns) for name, columns in named.items()}


def _first(said: frozenset[str], columns: Sequence[str]) -> pl.Expr:
    there = [pl.col(name) for name in columns if name in said]
    return pl.coalesce(*there, pl.lit("")) if there else pl.lit("")


def with_digests(usage: pl.DataFrame) -> pl.DataFrame:
    """Attempts with the digests of their names; those with equal NAMES have equal names."""
    if not usage.height:
        return usage.with_columns(*(pl.lit(None, pl.UInt64).alias(name) for name in DIGEST))
    numbers = usage[NAMES].to_numpy()
    leads, codes = first_rows_of(numbers - numbers.min())
    words = digest_texts("names", rows_at(usage, tuple(_TAGS), leads), _TAGS, leads.size)
    return with_series(usage, *(pl.Series(name, words[codes, n]) for n, name in enumerate(DIGEST)))
