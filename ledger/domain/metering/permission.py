"""What a key may write, by what it is bound to: what it sends is judged by it, now and later.

Invariant: what waits keeps the binding of its sender, and whoever sets it in motion adds no right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

from ledger.domain.metering.directory import Directory

# No customer has an empty id: who may write usage of these customers only may write nobody's.
NOBODY = frozenset({""})
OWNER_CHARS_MAX = 200
Fields = Mapping[str, Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class Binding:
    """What a key is bound to: sources (None: any may be written), customers and an entity (empty:
    to none)."""

    sources: frozenset[str] | None
    customers: frozenset[str] = frozenset()
    entity_id: str = ""

    def permission(self, directory: Directory) -> "Permission":
        """What it may write by the slow facts as they stand."""
        if not self.entity_id:
            return Permission(self, self.customers)
        reach = directory.reach_of(self.entity_id)
        own = self.customers & reach.customers if self.customers else reach.customers
        return Permission(self, own or NOBODY, reach.foreign)

    @property
    def owner(self) -> str:
        """Whose the ids and places are that it claims; empty: the house's."""
        said = ",".join(sorted(self.customers))
        if self.entity_id:
            said = f"{self.entity_id}/{said}"
        return said if len(said) <= OWNER_CHARS_MAX else blake2b(said.encode()).hexdigest()[:32]

    def to_fields(self) -> Fields:
        """It as JSON."""
        return {
            "sources": None if self.sources is None else sorted(self.sources),
            "customers": sorted(self.customers),
            "entities": [self.entity_id] if self.entity_id else [],
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """What `to_fields` gave."""
        sources = fields["sources"]
        return cls(
            None if sources is None else frozenset(sources),
            frozenset(fields["customers"] or ()),
            "".join(fields["entities"] or ()),
        )


@dataclass(frozen=True, slots=True)
class Permission:
    """What a key may write: its sources, and where `customers` is not empty usage of these only.

    `foreign` are GPUs and engine instances of others, whose readings it may not.
    """

    binding: Binding
    customers: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()

    @property
    def owner(self) -> str:
        """Whose the ids and places are that it claims; empty: the house's."""
        return self.binding.owner

    def writes(self, source: str) -> bool:
        """Whether it may write events of `source`."""
        sources = self.binding.sources
        return sources is None or source in sources
