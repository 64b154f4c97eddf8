"""Tells ids of keyed events by sixteen bytes each: where an id stands among others, and its hash.

Invariant: a key follows from source and id alone, for ever. Ten bytes of BLAKE2b tell ids apart;
the six before them only let ids that follow one another lie beside each other in an index, so
whatever shape an id has, a poor guess costs time and no more.
"""

from hashlib import blake2b

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints, Octets
from ledger.domain.compiled import compiled, inlined

KEY_BYTES, ORDER_BYTES = 16, 6
KEY_COLUMNS = ("key_high", "key_low")
HASH_BYTES = KEY_BYTES - ORDER_BYTES
PERSON = b"event id"
# Of numbers 256 in a row lie together; of texts, which begin with their time as ULID and UUIDv7 do,
# those of the same eight characters, six bits of each.
NUMBER_BITS, CHARACTERS, CHARACTER_BITS = 8, 8, 6
# What ids of a sender or of a kind begin with, ends with a mark; a dash is one near the beginning.
DASH, COLON, UNDERSCORE, DASHED = ord("-"), ord(":"), ord("_"), 8
ZERO, TEN, NO_NUMBER = ord("0"), 10, np.uint64(2**64 - 1)


def event_key(source_id: int, event_id: str) -> bytes:
    """The key of one id."""
    keys = event_keys(pl.Series([source_id], dtype=pl.Int32), pl.Series([event_id]))
    return keys.tobytes()


def key_columns(keys: Octets) -> list[pl.Series]:
    """Keys as two columns of whole numbers, which are sorted and compared fast."""
    words = keys.reshape(-1).view(">u8").reshape(-1, 2).astype(np.uint64)
    return [pl.Series(name, words[:, at]) for at, name in enumerate(KEY_COLUMNS)]


def key_octets(frame: pl.DataFrame) -> Octets:
    """The keys that two columns of a frame are, a row each."""
    words = np.column_stack([frame[name].to_numpy() for name in KEY_COLUMNS])
    octets: Octets = words.astype(">u8").view(np.uint8)
    return octets.reshape(-1, KEY_BYTES)


def event_keys(source_ids: pl.Series, ids: pl.Series) -> Octets:
    """The keys of ids, a row each."""
    texts = ids.cast(pl.Binary).to_list()
    keys = np.empty((len(texts), KEY_BYTES), np.uint8)
    octets = np.frombuffer(b"".join(texts), np.uint8)
    _set_order(keys, octets, np.cumsum(ids.str.len_bytes().to_numpy(), dtype=np.int64))
    keys[:, ORDER_BYTES:] = _hashes(source_ids, texts)
    return keys


def _hashes(source_ids: pl.Series, texts: list[bytes]) -> Octets:
    # A copy costs less than naming size and person again.
    begun = {
        source_id: blake2b(b"%d;" % source_id, digest_size=HASH_BYTES, person=PERSON).copy
        for source_id in source_ids.unique().to_list()
    }
    begins = [begun[source_id] for source_id in source_ids.to_list()]
    hashes = []
    for begin, text in zip(begins, texts, strict=True):
        hasher = begin()
        hasher.update(text)
        hashes.append(hasher.digest())
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, HASH_BYTES)


@compiled
def _set_order(keys: Octets, octets: Octets, ends: Ints) -> None:
    begin = 0
    for row in range(ends.size):
        text = octets[begin : ends[row]]
        begin = ends[row]
        order = _order_of(text)
        for at in range(ORDER_BYTES):
            keys[row, ORDER_BYTES - 1 - at] = order & np.uint64(0xFF)
            order >>= np.uint64(8)


@inlined
def _order_of(text: Octets) -> np.uint64:
    begin = _begin_of(text)
    order, number = np.uint64(0), np.uint64(0)
    for at in range(begin, text.size):
        digit = np.uint64(text[at]) - np.uint64(ZERO)
        if at < begin + CHARACTERS:
            bits = digit & np.uint64((1 << CHARACTER_BITS) - 1)
            order = order << np.uint64(CHARACTER_BITS) | bits
        if digit >= TEN:
            number = NO_NUMBER
        if number != NO_NUMBER:
            # Of a long number the last digits count: what is carried over is left out.
            number = number * np.uint64(TEN) + digit
        elif at >= begin + CHARACTERS:
            break
    return order if number == NO_NUMBER else number >> np.uint64(NUMBER_BITS)


@inlined
def _begin_of(text: Octets) -> int:
    """Where an id begins to say something of its own."""
    begin = 0
    for at in range(text.size):
        character = text[at]
        # Most are letters and digits.
        ends = character < ZERO or character in (COLON, UNDERSCORE)
        if ends and (character != DASH or at < DASHED):
            begin = at + 1
    return begin
