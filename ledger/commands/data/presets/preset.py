"""What a preset is: how the rows of a file are read, and what their cells mean."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ledger.commands.data.usage_file import Cells


@dataclass(frozen=True, slots=True)
class Preset:
    """A shape of files: `read` gives their rows from a path and the moment at which a log begins
    that says no more than how long after; `fixed` is what `--set` may say otherwise."""

    targets: tuple[str, ...]
    fixed: Mapping[str, str]
    read: Callable[[Path, datetime], Iterator[Cells]]

    def narrowed(self, rows: Iterator[Cells], fixed: Mapping[str, str]) -> Iterator[Cells]:
        """Rows without the cells of what is said of every row instead."""
        kept = [n for n, target in enumerate(self.targets) if target not in fixed]
        return ((line, [cells[n] for n in kept]) for line, cells in rows)
