"""Which keys are stored, as a process remembers them: many take eight bytes each."""

from dataclasses import dataclass, field

import numpy as np

from ledger.domain.arrays import Bools, Ints
from ledger.domain.metering.numbering import searched

KNOWN_MAX = 1_000_000


@dataclass(slots=True)
class KnownKeys:
    """Ids that are stored and committed; beyond `most` all are forgotten."""

    most: int = KNOWN_MAX
    _ids: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return int(self._ids.size)

    def lacks(self, ids: Ints) -> Bools:
        """Which of these are not known."""
        if not self._ids.size:
            return np.ones(ids.size, np.bool_)
        at = searched(self._ids, ids)
        lacking: Bools = self._ids[np.minimum(at, self._ids.size - 1)] != ids
        return lacking

    def add(self, ids: Ints) -> None:
        """These need not be offered again."""
        known = ids if self._ids.size > self.most else np.concatenate([self._ids, ids])
        ordered = np.sort(known)
        # By sight of what lies side by side: `np.unique` hashes, which takes ten times as long.
        first = np.ones(ordered.size, np.bool_)
        first[1:] = ordered[1:] != ordered[:-1]
        self._ids = ordered[first]
