"""Digests of what events say in texts, once for each combination of them.

Invariant: a digest is of the texts alone, each under a tag of its own; what is not said, and an
empty text, leave no trace.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger.domain.arrays import octets_of
from ledger.domain.blake2b import digests, digests_of
from ledger.domain.frames import MANY_ROWS

TEXT_DIGEST, DIGEST_BYTES = b"text1", 16
# A digest is two of them.
DigestWords = NDArray[np.uint64]


def digest_texts(kind: str, texts: pl.DataFrame, tags: Mapping[str, str], rows: int) -> DigestWords:
    """Two words for each of so many rows; the columns of `texts` are among those that have tags."""
    named = [tags[name] for name in texts.columns]
    if rows < MANY_ROWS:
        said = texts.rows() if named else [()] * rows
        return digest_octets([(kind + "".join(map(_said, named, row))).encode() for row in said])
    octets, ends = octets_of(_joined(kind, texts, named))
    words = digests(octets, ends, size=DIGEST_BYTES, person=TEXT_DIGEST).view("<u8")
    # Where all say the same it is said once.
    return np.broadcast_to(words, (rows, words.shape[1]))


def digest_octets(texts: Sequence[bytes]) -> DigestWords:
    """The digests of texts as they are, two words each."""
    return digests_of(texts, size=DIGEST_BYTES, person=TEXT_DIGEST).view("<u8")


def is_constant(series: pl.Series) -> bool:
    """Whether every row says the same."""
    return not series.null_count() and bool((series == series[0]).all())


def _joined(kind: str, texts: pl.DataFrame, tags: Sequence[str]) -> pl.Series:
    """What each row says in its texts: tag, length and value of each that is not empty; one row
    where all say the same."""
    parts: list[pl.Expr] = [pl.lit(kind)]
    for text, tag in zip(texts, tags, strict=True):
        if is_constant(text):
            parts.append(pl.lit(_said(tag, text[0])))
        else:
            parts += _saying(text, tag)
    return texts.select(pl.concat_str(parts)).to_series() if tags else pl.Series([kind])


def _said(tag: str, text: str | None) -> str:
    return f";{tag}:{len(text.encode())}:{text}" if text else ""


def _saying(texts: pl.Series, tag: str) -> list[pl.Expr]:
    """`_said` of a column, in pieces."""
    text = pl.col(texts.name)
    said = [pl.lit(f";{tag}:"), text.str.len_bytes(), pl.lit(":"), text]
    if not texts.null_count() and (texts != "").all():
        return said
    return [pl.when(text != "").then(pl.concat_str(said)).otherwise(pl.lit(""))]
