"""Digests of many texts are those that hashlib makes of each."""

from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.blake2b import digests_of
from ledger.domain.frames import MANY_ROWS

# Around the ends of words and blocks.
SIZES = (0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1_000)


@pytest.mark.parametrize("rows", [1, MANY_ROWS - 1, MANY_ROWS])
@given(
    st.binary(max_size=max(SIZES)),
    st.lists(st.sampled_from(SIZES), min_size=1),
    st.integers(1, 64),
    st.binary(max_size=16),
)
def test_they_are_hashlibs_own(
    rows: int, octets: bytes, sizes: list[int], size: int, person: bytes
) -> None:
    whole = octets.ljust(max(SIZES), b"\xff")
    texts = [whole[:long] for long in np.resize(sizes, rows).tolist()]
    expected = [blake2b(text, digest_size=size, person=person).digest() for text in texts]
    assert [row.tobytes() for row in digests_of(texts, size=size, person=person)] == expected


def test_of_no_text_there_is_no_digest() -> None:
    assert digests_of([], size=16, person=b"").shape == (0, 16)
