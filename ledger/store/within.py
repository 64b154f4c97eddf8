"""Over which period, and as known when: what most reads are asked."""

from datetime import datetime
from typing import TypedDict


class Within(TypedDict):
    """Over [since, until), as known at a cut-off."""

    since: datetime
    until: datetime
    batch_seq: int


class OfEntity(Within):
    """The same, of one entity."""

    entity_id: str
