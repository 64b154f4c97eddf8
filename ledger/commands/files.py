"""Files that commands write: they have their name once they are whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` when it is whole; where it fails, nothing is left."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as unfinished:
        try:
            yield unfinished
            unfinished.close()
            os.replace(unfinished.name, path)
        except BaseException:
            os.unlink(unfinished.name)
            raise
