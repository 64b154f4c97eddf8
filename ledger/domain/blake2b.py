"""BLAKE2b of many texts at once: of few by hashlib, of many compiled, without an object of Python
for each, and while other threads run.

https://www.rfc-editor.org/rfc/rfc7693
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from ledger.domain.arrays import WORD, Ints, Octets, Words, padded, words_of
from ledger.domain.compiled import compiled, inlined
from ledger.domain.frames import MANY_ROWS

_U64 = np.uint64
_BLOCK_WORDS, _BLOCK_BYTES = 16, 128
_STATE = np.array(
    [
        *(0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1),
        *(0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179),
    ],
    np.uint64,
)
# Fan-out and depth of a hash that is no tree.
_SEQUENTIAL = 1 << 16 | 1 << 24
_PERSON_BYTES = 16
_ORDERS = (
    *(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    *(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    *(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    *(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    *(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    *(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    *(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    *(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    *(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    *(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
_ROUNDS = 12
# Which word of a block is taken when; the last rounds are the first again.
_TAKEN = np.array((_ORDERS * 2)[: _ROUNDS * _BLOCK_WORDS], np.int64)


def digests_of(texts: Sequence[bytes], *, size: int, person: bytes) -> Octets:
    """The digests of texts, a row of `size` bytes each."""
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    return digests(padded(texts, int(ends[-1]) if ends.size else 0), ends, size=size, person=person)


def digests(octets: Octets, ends: Ints, *, size: int, person: bytes) -> Octets:
    """The same of texts one after the other in padded bytes, each of which ends before one of
    `ends`."""
    if ends.size < MANY_ROWS:
        return _digests_of_few(octets.data, ends.tolist(), size, person)
    begun = _STATE.copy()
    begun[0] ^= np.uint64(size | _SEQUENTIAL)
    begun[6:] ^= np.frombuffer(person.ljust(_PERSON_BYTES, b"\0"), "<u8")
    states = np.empty((ends.size, begun.size), "<u8")
    _hash_each(words_of(octets), ends, begun, _TAKEN, states)
    return states.view(np.uint8)[:, :size]


def _digests_of_few(octets: memoryview, ends: list[int], size: int, person: bytes) -> Octets:
    # A copy costs less than naming size and person again.
    begin, digests, at = blake2b(digest_size=size, person=person).copy, [], 0
    for end in ends:
        hasher = begin()
        hasher.update(octets[at:end])
        digests.append(hasher.digest())
        at = end
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, size)


@compiled
def _hash_each(words: Words, ends: Ints, begun: Words, taken: Ints, states: Words) -> None:
    block = np.empty(_BLOCK_WORDS, np.uint64)
    begin = 0
    for row in range(ends.size):
        state, at, end = states[row], begin, ends[row]
        for n in range(begun.size):
            state[n] = begun[n]
        # The last block is never empty, unless the text is.
        while at + _BLOCK_BYTES < end:
            _take(words, at, end, block)
            at += _BLOCK_BYTES
            _compress(state, block, taken, _U64(at - begin), _U64(0))
        _take(words, at, end, block)
        _compress(state, block, taken, _U64(end - begin), ~_U64(0))
        begin = end


@compiled
def _take(words: Words, at: int, end: int, block: Words) -> None:
    """The next words of a text, zeros behind its end."""
    for n in range(_BLOCK_WORDS):
        since = at + n * WORD
        if since + WORD <= end:
            block[n] = words[_U64(since)]
        elif since < end:
            block[n] = words[_U64(since)] & ((_U64(1) << _U64(8 * (end - since))) - _U64(1))
        else:
            block[n] = 0


@compiled
def _compress(state: Words, block: Words, taken: Ints, count: np.uint64, last: np.uint64) -> None:
    a0, a1, a2, a3, b0, b1, b2, b3 = (
        *(state[0], state[1], state[2], state[3]),
        *(state[4], state[5], state[6], state[7]),
    )
    c0, c1, c2, c3 = _STATE[0], _STATE[1], _STATE[2], _STATE[3]
    d0, d1, d2, d3 = _STATE[4] ^ count, _STATE[5], _STATE[6] ^ last, _STATE[7]
    for at in range(0, taken.size, _BLOCK_WORDS):
        t = taken[at : at + _BLOCK_WORDS]
        a0, b0, c0, d0 = _mix(a0, b0, c0, d0, block[t[0]], block[t[1]])
        a1, b1, c1, d1 = _mix(a1, b1, c1, d1, block[t[2]], block[t[3]])
        a2, b2, c2, d2 = _mix(a2, b2, c2, d2, block[t[4]], block[t[5]])
        a3, b3, c3, d3 = _mix(a3, b3, c3, d3, block[t[6]], block[t[7]])
        a0, b1, c2, d3 = _mix(a0, b1, c2, d3, block[t[8]], block[t[9]])
        a1, b2, c3, d0 = _mix(a1, b2, c3, d0, block[t[10]], block[t[11]])
        a2, b3, c0, d1 = _mix(a2, b3, c0, d1, block[t[12]], block[t[13]])
        a3, b0, c1, d2 = _mix(a3, b0, c1, d2, block[t[14]], block[t[15]])
    state[0] ^= a0 ^ c0
    state[1] ^= a1 ^ c1
    state[2] ^= a2 ^ c2
    state[3] ^= a3 ^ c3
    state[4] ^= b0 ^ d0
    state[5] ^= b1 ^ d1
    state[6] ^= b2 ^ d2
    state[7] ^= b3 ^ d3


@inlined
def _mix(
    a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64, x: np.uint64, y: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    a += b + x
    d = _turned(d ^ a, 32)
    c += d
    b = _turned(b ^ c, 24)
    a += b + y
    d = _turned(d ^ a, 16)
    c += d
    b = _turned(b ^ c, 63)
    return a, b, c, d


@inlined
def _turned(word: np.uint64, bits: int) -> np.uint64:
    return word >> _U64(bits) | word << _U64(64 - bits)
