"""The file of a recording, packed or not."""

import gzip
from pathlib import Path
from typing import TextIO

from collectors.errors import SourceError


def open_recording(source: str, path: Path) -> TextIO:
    """The text of a recording; SourceError of the source where it cannot be opened."""
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8", newline="")
        return path.open(encoding="utf-8", newline="")
    except OSError as error:
        raise SourceError(f"{source} {path}: {error}; name a recording") from error
