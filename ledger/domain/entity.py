"""A legal entity as stages and reports go by it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LegalEntity:
    """Whose books they are, in which currency and by the hours of which zone."""

    entity_id: str
    currency: str
    zone: str
