"""Small files of numbers with a checksum: a flipped digit is no other number."""

import zlib
from pathlib import Path

from collectors.segments import write_durably


def keep_numbers(path: Path, *numbers: int) -> None:
    """Replace the numbers, durable before the old ones are gone."""
    write_durably(path, _sealed(numbers))


def kept_numbers(path: Path) -> tuple[int, ...]:
    """The numbers that were kept; none where there is no file, or where it is damaged."""
    try:
        text = path.read_text(encoding="utf-8")
        numbers = tuple(int(word) for word in text.split()[:-1])
    except (FileNotFoundError, ValueError):
        return ()
    return numbers if text == _sealed(numbers) else ()


def _sealed(numbers: tuple[int, ...]) -> str:
    said = " ".join(map(str, numbers))
    return f"{said} {zlib.crc32(said.encode()):08x}\n"
