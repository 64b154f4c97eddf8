"""A trouble that goes on is logged when it begins, then counted, and named again now and then."""

import logging
import re
import threading
from dataclasses import dataclass

TROUBLES_MAX = 1_000
_DIGITS = re.compile(r"\d+")


@dataclass(slots=True)
class Trouble:
    """One trouble: as it was said last, how often in all, and how often since it was last named."""

    text: str
    count: int = 0
    unsaid: int = 0
    seen: bool = True


class Ongoing:
    """Troubles by where they are and what they are, numbers in the text aside."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._mutex = threading.Lock()
        self._known: dict[tuple[str, str], Trouble] = {}

    def tell(self, where: str, text: str) -> None:
        """Log it where it is new, else count it."""
        key = (where, _DIGITS.sub("#", text))
        with self._mutex:
            new = key not in self._known and len(self._known) < TROUBLES_MAX
            trouble = self._known.setdefault(key, Trouble(text)) if new else self._known.get(key)
            if trouble is None:
                return
            trouble.text, trouble.seen = text, True
            trouble.count += 1
            trouble.unsaid += 0 if new else 1
        if new:
            self._log.warning("%s: %s", where, text)

    def counts(self) -> dict[str, int]:
        """How often each place has trouble that goes on."""
        with self._mutex:
            counts: dict[str, int] = {}
            for (where, _), trouble in self._known.items():
                counts[where] = counts.get(where, 0) + trouble.count
            return counts

    def review(self) -> None:
        """Name with its count what went on since the last review, and what is over."""
        with self._mutex:
            over = [key for key, trouble in self._known.items() if not trouble.seen]
            for key in over:
                self._log.info("%s: over after %d times", key[0], self._known.pop(key).count)
            for (where, _), trouble in self._known.items():
                if trouble.unsaid:
                    self._log.warning(
                        "%s: %d times more, %d in all: %s",
                        where,
                        trouble.unsaid,
                        trouble.count,
                        trouble.text,
                    )
                trouble.seen, trouble.unsaid = False, 0
