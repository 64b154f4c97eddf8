"""Which of the lines that were made again are those that were let go."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

from ledger.domain.errors import ConflictError

# A scope and the start of a window.
ScopeWindow: TypeAlias = tuple[str, datetime]


class AllocatedLines(NamedTuple):
    """Lines of usage of a scope's window: of which revision, stored by which batch, made of what
    was known up to `known_batch_seq`, and their SHA-256."""

    scope: str
    window_start: datetime
    revision: int
    batch_seq: int
    known_batch_seq: int
    digest: bytes

    @property
    def key(self) -> ScopeWindow:
        """Where they are."""
        return self.scope, self.window_start


def next_cut_off(asked: Iterable[AllocatedLines]) -> int:
    """As known up to which batch lines are made again first: what stands at a cut-off has not
    changed since it was made, so that the latest gives nearly all of them."""
    return max(each.known_batch_seq for each in asked)


def found_again(
    asked: Sequence[AllocatedLines], made: Mapping[ScopeWindow, bytes], batch_seq: int
) -> list[AllocatedLines]:
    """Those whose digest the made ones have; ConflictError where lines of just this cut-off are
    not what they were."""
    same = [each for each in asked if made.get(each.key) == each.digest]
    for each in asked:
        if each.known_batch_seq == batch_seq and made.get(each.key) != each.digest:
            raise ConflictError(
                f"The lines of {each.scope} in the window of {each.window_start:%Y-%m-%dT%H:%MZ}"
                " cannot be made again: facts, inputs or arithmetic are not what they were.",
                "Restore what is missing, or ask for whole days.",
                each.scope,
            )
    return same
