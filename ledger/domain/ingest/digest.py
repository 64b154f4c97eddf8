"""Turns decoded fields into a digest of what an event says.

Invariant: equal content has equal digests, whatever bytes, encoding or transport it came by. Each
field that is known goes in as tag, length and value; unknown fields leave no trace, so that a field
added later changes no digest already stored. An end user's id is left out: it could be guessed from
a digest.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from uuid import UUID

import polars as pl

VERSION = b"1"
# Tag of each field that is part of what an event says; a tag is never reused.
USAGE_TAGS = {
    "kind": "k",
    "time": "t",
    "started_at": "ts",
    "first_token_at": "tf",
    "ended_at": "te",
    "customer_ref": "c",
    "project_id": "p",
    "api_key_id": "a",
    "agent_id": "g",
    "agent_run_id": "gr",
    "model": "m",
    "adapter": "ad",
    "service_tier_served": "st",
    "region": "r",
    "engine_instance": "e",
    "requests": "n",
    "uncached": "iu",
    "cache_read": "ir",
    "cache_write": "iw",
    "visible": "ov",
    "reasoning": "og",
    "flags": "f",
    "context_tokens": "x",
    "cost_amount": "ca",
    "cost_currency": "cc",
    "revision": "rv",
    "supersedes": "su",
    "supersedes_source": "ss",
}
ENERGY_TAGS = {
    "time": "t",
    "gpu_uuid": "u",
    "epoch": "ep",
    "energy_mj": "mj",
    "power_mw": "mw",
    "method": "me",
    "quality": "q",
    "scope": "sc",
}


def canonical(frame: pl.DataFrame, tags: dict[str, str], kind: str) -> pl.Series:
    """One text a row: tag, length and value of each known field, after the kind of event."""
    parts = [_part(name, tag) for name, tag in tags.items()]
    return frame.select(pl.concat_str(pl.lit(f"{kind};"), *parts).alias("canonical")).to_series()


def _part(name: str, tag: str) -> pl.Expr:
    text = pl.col(name).cast(pl.String)
    length = text.str.len_bytes().cast(pl.String)
    return pl.concat_str(pl.lit(f"{tag}:"), length, pl.lit(":"), text).fill_null("")


def digest(text: str | bytes) -> UUID:
    """The 128-bit digest of one canonical text."""
    raw = text if isinstance(text, bytes) else text.encode()
    return UUID(bytes=blake2b(raw, digest_size=16, person=VERSION).digest())


def digests(texts: Iterable[str]) -> list[UUID]:
    """The digest of each text."""
    return [digest(text) for text in texts]


def batch_digest(texts: Sequence[str | bytes]) -> UUID:
    """The digest of a batch: of its events' texts in order, each behind its length."""
    hasher = blake2b(digest_size=16, person=VERSION)
    for text in texts:
        raw = text if isinstance(text, bytes) else text.encode()
        hasher.update(b"%d:" % len(raw))
        hasher.update(raw)
    return UUID(bytes=hasher.digest())
