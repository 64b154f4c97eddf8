"""What ingest must know of the slow facts: who a customer is, and which tier was served.

Invariant: the answer depends on what is recorded and on when the attempt ended, never on order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ledger.domain.metering.fact import TierSource

LAST_RESORT_TIER = "standard"


@dataclass(frozen=True, slots=True)
class DatedName:
    """A customer's other name in [since, until), in microseconds; `until` None is open."""

    customer_id: str
    since: int
    until: int | None

    def holds(self, moment: int) -> bool:
        """Whether `moment` is inside its validity."""
        return self.since <= moment and (self.until is None or moment < self.until)


@dataclass(frozen=True, slots=True)
class TierRule:
    """The tier that a deployment serves in [since, until), in microseconds."""

    deployment_id: str
    entity_id: str
    model: str
    tier: str
    instances: tuple[str, ...]
    since: int
    until: int | None

    def holds(self, moment: int) -> bool:
        """Whether `moment` is inside its validity."""
        return self.since <= moment and (self.until is None or moment < self.until)


@dataclass(frozen=True, slots=True)
class SourceForm:
    """A registered source: its number, and whether it is sequenced or keyed.

    None is a source that nobody has sent yet but with a bound key; `of_bound` has the forms of
    these, by what the key is bound to.
    """

    source_id: int
    form: str | None
    of_bound: Mapping[str, str] = field(default_factory=dict)

    def form_of(self, owner: str) -> str | None:
        """The form of what an owner sends; empty: the house. None where it has sent nothing."""
        return self.of_bound.get(owner) if owner else self.form

    def taking(self, owner: str, form: str) -> "SourceForm":
        """It with a form for an owner."""
        if not owner:
            return replace(self, form=form)
        return replace(self, of_bound={**self.of_bound, owner: form})

    def forms(self) -> frozenset[str]:
        """Every form that somebody sends."""
        return frozenset(form for form in (self.form, *self.of_bound.values()) if form is not None)


@dataclass(frozen=True, slots=True)
class Reach:
    """An entity's customers, and the GPUs and engine instances that only others deployed."""

    customers: frozenset[str]
    foreign: frozenset[str]


@dataclass(frozen=True, slots=True)
class Directory:
    """A snapshot of the slow facts, taken at `version`; `members` are pairs of a GPU or engine
    instance and an entity that deployed it, `budgeted` customers that have a budget."""

    version: int = 0
    customers: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, Sequence[DatedName]] = field(default_factory=dict)
    key_tiers: Mapping[str, str] = field(default_factory=dict)
    tier_rules: Sequence[TierRule] = ()
    entity_tiers: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, SourceForm] = field(default_factory=dict)
    members: frozenset[tuple[str, str]] = frozenset()
    budgeted: frozenset[str] = frozenset()
    _reaches: dict[str, Reach] = field(default_factory=dict, compare=False)

    def expecting(self, forms: Iterable[tuple[str, str, str]], named: Iterable[str]) -> "Directory":
        """It as it will be with these (source, owner, form), and sources that are only named."""
        sources = {name: SourceForm(0, None) for name in named} | dict(self.sources)
        for source, owner, form in forms:
            sources[source] = sources.get(source, SourceForm(0, None)).taking(owner, form)
        return replace(self, sources=sources)

    def reach_of(self, entity: str) -> Reach:
        """What a key bound to an entity may write."""
        if entity not in self._reaches:
            own = {member for member, of in self.members if of == entity}
            self._reaches[entity] = Reach(
                frozenset(name for name, of in self.customers.items() if of == entity),
                frozenset(member for member, _ in self.members) - own,
            )
        return self._reaches[entity]

    def customer_of(self, ref: str, moment: int) -> str | None:
        """Our id of a customer named `ref` at `moment`: by id, else by dated name, else None."""
        if ref in self.customers:
            return ref
        return next((n.customer_id for n in self.names.get(ref, ()) if n.holds(moment)), None)

    def tier_of(
        self, served: str, *, api_key_id: str, instance: str, model: str, entity: str, moment: int
    ) -> tuple[str, TierSource]:
        """The tier served, and who says so: the event, its key, its deployment, or the entity."""
        if served:
            return served, TierSource.EVENT
        if api_key_id in self.key_tiers:
            return self.key_tiers[api_key_id], TierSource.KEY
        deployed = self._deployed_tier(instance, model, entity, moment)
        if deployed is not None:
            return deployed, TierSource.DEPLOYMENT
        return self._default_tier(entity), TierSource.ENTITY

    def is_dated(self, ref: str, served: str, *, api_key_id: str) -> bool:
        """Whether `customer_of` or `tier_of` may say another thing at another moment."""
        if ref not in self.customers and ref in self.names:
            return True
        return bool(self.tier_rules) and not (served or api_key_id in self.key_tiers)

    def _deployed_tier(self, instance: str, model: str, entity: str, moment: int) -> str | None:
        valid = [rule for rule in self.tier_rules if rule.holds(moment)]
        named = [rule for rule in valid if instance and instance in rule.instances]
        if not named:
            named = [rule for rule in valid if not rule.instances and rule.model == model]
            named = [rule for rule in named if rule.entity_id == entity] or named
        tiers = {rule.tier for rule in named}
        return tiers.pop() if len(tiers) == 1 else None

    def _default_tier(self, entity: str) -> str:
        if entity in self.entity_tiers:
            return self.entity_tiers[entity]
        defaults = set(self.entity_tiers.values())
        return defaults.pop() if len(defaults) == 1 else LAST_RESORT_TIER
