"""Turns a decoded usage into keys: whose it is, what it is of, and where it ran.

Invariant: a key is a content hash of its columns, so that every process gives it the same number.
"""

from dataclasses import dataclass

from ledger.domain.directory import Directory
from ledger.domain.fact import Flag, Usage
from ledger.domain.ingest.digest import text_digest
from ledger.domain.rate_card import context_band


@dataclass(frozen=True, slots=True)
class UsageKeyRow:
    """A row of `usage_key`; `customer_id` and `entity_id` None is suspense."""

    usage_key_id: int
    entity_id: str | None
    customer_id: str | None
    customer_ref: str
    project_id: str
    api_key_id: str
    agent_id: str
    tier: str
    model: str
    adapter: str
    region: str
    context_band: int


@dataclass(frozen=True, slots=True)
class EngineKeyRow:
    """A row of `engine_key`."""

    engine_key_id: int
    engine_instance: str
    model: str
    tier: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """A usage with its keys, and flags that say where its tier is known from."""

    usage: Usage
    usage_key: UsageKeyRow
    engine_key: EngineKeyRow
    flags: Flag


def resolve(usage: Usage, directory: Directory, default_tier: str | None) -> Resolved:
    """Keys of a usage; `default_tier` is the tier of the API key it came in under, if any."""
    customer_id = directory.find_customer(usage.customer_ref, usage.time)
    entity_id = directory.entity_of.get(customer_id) if customer_id else None
    tier, provenance = directory.find_tier(
        said=usage.tier,
        key_tier=directory.key_tiers.get(usage.api_key_id) or default_tier,
        instance=usage.engine_instance,
        model=usage.model,
        at=usage.time,
        entity_id=entity_id,
    )
    return Resolved(
        usage,
        usage_key(usage, customer_id=customer_id, entity_id=entity_id, tier=tier),
        engine_key(usage.engine_instance, usage.model, tier),
        usage.flags | provenance,
    )


def usage_key(
    usage: Usage, *, customer_id: str | None, entity_id: str | None, tier: str
) -> UsageKeyRow:
    """The key of a usage; its number is a hash of every other column."""
    band = context_band(usage.context_tokens)
    texts = (usage.customer_ref, usage.project_id, usage.api_key_id, usage.agent_id)
    what = (tier, usage.model, usage.adapter, usage.region)
    number = text_digest(
        "usage",
        entity_id or "",
        customer_id or "",
        "known" if customer_id else "",
        *texts,
        *what,
        str(band),
    )
    return UsageKeyRow(number, entity_id, customer_id, *texts, *what, band)


def engine_key(instance: str, model: str, tier: str) -> EngineKeyRow:
    """The key of where usage ran; empty text is unknown."""
    return EngineKeyRow(text_digest("engine", instance, model, tier), instance, model, tier)
