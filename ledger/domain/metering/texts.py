"""Digests of what events say in texts, once for each combination of them.

Invariant: a digest is of the texts alone, each under a tag of its own; what is not said, and an
empty text, leave no trace.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger.domain.frames import MANY_ROWS

TEXT_DIGEST = b"text1"
# What rows say is objects of Python while it is hashed: of more rows at once these would be most of
# what a batch takes.
ROWS_AT_ONCE = 8_192
_BEGUN = blake2b(digest_size=16, person=TEXT_DIGEST)
# A digest is two of them.
DigestWords = NDArray[np.uint64]


def digest_texts(kind: str, texts: pl.DataFrame, tags: Mapping[str, str], rows: int) -> DigestWords:
    """Two words for each of so many rows; the columns of `texts` are among those that have tags."""
    named = [tags[name] for name in texts.columns]
    if rows <= ROWS_AT_ONCE:
        return digest_octets(_joined(kind, texts, named, rows))
    parts = [
        digest_octets(_joined(kind, part, named, part.height))
        for part in texts.iter_slices(ROWS_AT_ONCE)
    ]
    return np.concatenate(parts)


def digest_octets(texts: Sequence[bytes]) -> DigestWords:
    """The digests of texts as they are, two words each."""
    # A copy costs less than naming size and person again, and a call as much as either.
    begin, digests = _BEGUN.copy, []
    for text in texts:
        hasher = begin()
        hasher.update(text)
        digests.append(hasher.digest())
    return np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)


def is_constant(series: pl.Series) -> bool:
    """Whether every row says the same."""
    return not series.null_count() and bool((series == series[0]).all())


def _joined(kind: str, texts: pl.DataFrame, tags: Sequence[str], rows: int) -> list[bytes]:
    """What each row says in its texts: tag, length and value of each that is not empty."""
    if rows < MANY_ROWS:
        said = texts.rows() if tags else [()] * rows
        return [(kind + "".join(map(_said, tags, row))).encode() for row in said]
    parts: list[pl.Expr] = [pl.lit(kind)]
    varied = False
    for text, tag in zip(texts, tags, strict=True):
        if is_constant(text):
            parts.append(pl.lit(_said(tag, text[0])))
        else:
            varied = True
            parts += _saying(text, tag)
    joined = texts.select(pl.concat_str(parts)).to_series() if tags else pl.Series([kind])
    octets: list[bytes] = joined.cast(pl.Binary).to_list()
    return octets if varied else octets[:1] * rows


def _said(tag: str, text: str | None) -> str:
    return f";{tag}:{len(text.encode())}:{text}" if text else ""


def _saying(texts: pl.Series, tag: str) -> list[pl.Expr]:
    """`_said` of a column, in pieces."""
    text = pl.col(texts.name)
    said = [pl.lit(f";{tag}:"), text.str.len_bytes(), pl.lit(":"), text]
    if not texts.null_count() and (texts != "").all():
        return said
    return [pl.when(text != "").then(pl.concat_str(said)).otherwise(pl.lit(""))]
