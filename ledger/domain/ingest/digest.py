"""Turns decoded fields into a digest of what an event says.

Invariant: equal content has equal digests, whatever bytes, encoding or transport it came by. Each
field that is known goes in as tag, length and value; unknown fields leave no trace, so that a field
added later changes no digest already stored. An end user's id is left out: it could be guessed from
a digest.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any
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
    "main_in": "iu",
    "in_cache_read": "ir",
    "in_cache_write": "iw",
    "in_cache_write_5m": "i5",
    "in_cache_write_1h": "i1",
    "in_tool_use": "it",
    "main_out": "ov",
    "out_reasoning": "og",
    "out_rejected_prediction": "oj",
    "usage_source": "us",
    "complete": "cp",
    "stream": "sm",
    "status": "s",
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
    known = pl.when(text.str.len_bytes() > 0)
    return known.then(pl.concat_str(pl.lit(f"{tag}:"), length, pl.lit(":"), text)).fill_null("")


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


def counters_text(scrape: dict[str, Any]) -> str:
    """The canonical text of a scrape: its values sorted by name and labels, numbers normalised."""
    names = ("time", "engine", "instance", "run_id", "run_started_at")
    parts = [str(scrape[name]) for name in names if scrape[name] is not None]
    values = sorted(
        (name, sorted(labels.items()), f"{Decimal(value).normalize():f}", lost)
        for name, value, labels, lost in scrape["values"]
    )
    flat = [*parts, *(str(part) for value in values for part in value)]
    return "counters;" + "".join(f"{len(part.encode())}:{part}" for part in flat)
