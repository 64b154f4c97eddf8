"""Bytes as columns: each byte, and at each place the eight bytes from there on as one word."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

Octets = NDArray[np.uint8]
Words = NDArray[np.uint64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.uint32]
WORD = 8


def padded(parts: Iterable[bytes], size: int) -> Octets:
    """The parts, `size` bytes together, one after the other, and eight bytes of padding.

    Nothing keeps a part that was copied: whoever hands them over one by one has them once.
    """
    octets = np.empty(size + WORD, np.uint8)
    octets[size:] = 0
    # A view of memory takes a part in a third of the time that an array does.
    laid, at = octets.data, 0
    for part in parts:
        laid[at : at + len(part)] = part
        at += len(part)
    return octets


def words_of(octets: Octets) -> Words:
    """The word at each place of padded bytes, low byte first."""
    view: Any = np.ndarray((octets.size - WORD + 1,), "<u8", octets.data, strides=(1,))
    words: Words = view
    return words


class Fixed(NamedTuple):
    """Texts as words, of whose bits those of `masks` count: text n has `sizes[n]` bytes, and its
    words end before `ends[n]`."""

    words: Words
    masks: Words
    ends: Ints
    sizes: Ints

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> "Fixed":
        """The texts, each at a word of its own."""
        pieces = [text[at : at + WORD] for text in texts for at in range(0, len(text), WORD)]
        return cls(
            np.frombuffer(b"".join(piece.ljust(WORD, b"\0") for piece in pieces), "<u8"),
            np.array([(1 << 8 * len(piece)) - 1 for piece in pieces], np.uint64),
            np.cumsum([-(-len(text) // WORD) for text in texts], dtype=np.int64),
            np.array([len(text) for text in texts], np.int64),
        )


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of texts: each row's place among those there are, where what names an event stands
    once; null is no text."""

    codes: NDArray[Any]
    values: pl.Series
