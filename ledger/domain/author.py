"""Who writes by hand, why, and under which request."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Author:
    """Kept with every manual write; `actor` is an API key's id, or `cli:USER`."""

    actor: str
    reason: str
    request_id: str
