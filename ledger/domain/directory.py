"""What ingest must know of the slow facts: whose usage it is, and on which tier it was served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.domain.fact import Flag

DEFAULT_TIER = "standard"


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name of a customer in [valid_from, valid_to)."""

    customer_id: str
    valid_from: datetime
    valid_to: datetime | None


@dataclass(frozen=True, slots=True)
class Serving:
    """Which tier a deployment serves in [valid_from, valid_to), if it names one."""

    model: str
    tier: str | None
    engine_instances: tuple[str, ...]
    valid_from: datetime
    valid_to: datetime | None


@dataclass(frozen=True, slots=True)
class Directory:
    """A snapshot of customers, aliases, tiers and sources, as of `version`."""

    version: int
    entity_of: Mapping[str, str]
    aliases: Mapping[str, Sequence[Alias]]
    default_tiers: Mapping[str, str]
    key_tiers: Mapping[str, str]
    servings: Sequence[Serving]

    def find_customer(self, reference: str, at: datetime) -> str | None:
        """The customer an event names, by id or by an alias valid then; None is unknown."""
        if reference in self.entity_of:
            return reference
        for alias in self.aliases.get(reference, ()):
            if _holds(alias.valid_from, alias.valid_to, at):
                return alias.customer_id
        return None

    def find_tier(
        self,
        *,
        said: str,
        key_tier: str | None,
        instance: str,
        model: str,
        at: datetime,
        entity_id: str | None,
    ) -> tuple[str, Flag]:
        """The tier served and where that is known from: event, key, deployment, entity default."""
        if said:
            return said, Flag(0)
        if key_tier:
            return key_tier, Flag.TIER_FROM_KEY
        tier = self._deployed_tier(instance, model, at)
        if tier:
            return tier, Flag.TIER_FROM_DEPLOYMENT
        return self.default_tiers.get(entity_id or "", DEFAULT_TIER), Flag.TIER_FROM_DEFAULT

    def _deployed_tier(self, instance: str, model: str, at: datetime) -> str | None:
        valid = [s for s in self.servings if _holds(s.valid_from, s.valid_to, at)]
        by_instance = {s.tier for s in valid if instance and instance in s.engine_instances}
        found = by_instance or {s.tier for s in valid if s.model == model}
        return found.pop() if len(found) == 1 else None


def _holds(valid_from: datetime, valid_to: datetime | None, at: datetime) -> bool:
    return valid_from <= at and (valid_to is None or at < valid_to)
