"""Bytes as columns: each byte, and at each place the eight bytes from there on as one word."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Octets = NDArray[np.uint8]
Words = NDArray[np.uint64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
WORD = 8


def padded(parts: Iterable[bytes]) -> Octets:
    """The parts one after the other, and eight bytes of padding."""
    return np.frombuffer(b"".join([*parts, bytes(WORD)]), np.uint8)


def words_of(octets: Octets) -> Words:
    """The word at each place of padded bytes, low byte first."""
    found: Any = np.ndarray((octets.size - WORD + 1,), "<u8", octets.data, strides=(1,))
    words: Words = found
    return words


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of texts: each row's place among the distinct ones; None is no text."""

    codes: NDArray[Any]
    values: Sequence[str | None]
