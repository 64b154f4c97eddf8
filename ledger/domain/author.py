"""Who writes by hand, why, and under which request."""

from dataclasses import dataclass

from ledger.domain.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Author:
    """Kept with every manual write; `actor` is an API key's id, or `cli:USER`; `stated`: the reason
    is their own, and not what is kept where nobody says one."""

    actor: str
    reason: str
    request_id: str
    stated: bool = True


def check_reason(author: Author) -> None:
    """InvalidInputError where nobody said why."""
    if not author.reason.strip():
        raise InvalidInputError("No reason is given.", "Say why, for whoever asks later.", "reason")
