"""Turns digests of rows into a chain: each seal's digest is of its parts and of the seal before.

Invariant: the same parts in any order give the same digest, and nothing of a seal can change
without changing its digest and every later one.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256

from ledger.domain.errors import InvalidInputError

FIRST = bytes(32)


@dataclass(frozen=True, slots=True)
class SealPart:
    """Rows of one table (and stored day) in a stretch, and the SHA-256 of what `columns` say."""

    table: str
    stored_day: date | None
    rows: int
    digest: bytes
    columns: str


@dataclass(frozen=True, slots=True, order=True)
class BatchDigest:
    """Rows that one batch stored in one table and day, and their SHA-256; by its `number`."""

    number: int
    stored_day: date | None
    rows: int
    digest: bytes


def summed(batches: Iterable[BatchDigest]) -> dict[date | None, tuple[int, bytes]]:
    """Rows and digest of each day: the SHA-256 of its batches' digests in stored order."""
    days: dict[date | None, list[BatchDigest]] = defaultdict(list)
    for digest in sorted(batches, key=lambda batch: batch.number):
        days[digest.stored_day].append(digest)
    return {
        day: (
            sum(digest.rows for digest in each),
            sha256(b"".join(digest.digest for digest in each)).digest(),
        )
        for day, each in days.items()
    }


def first_rows(digests: Sequence[bytes], rows: int) -> tuple[int, bytes]:
    """How many of the first `rows` rows there are, and their digest."""
    first = digests[:rows]
    return len(first), sha256(b"".join(first)).digest()


def slices(
    counts: Iterable[tuple[int, int]], since: int, until: int, most: int
) -> list[tuple[int, int]]:
    """(since, until] cut behind batches, given as (place, rows), into parts of about `most` rows.

    >>> slices([(1, 5), (2, 5), (7, 3)], 0, 9, 8)
    [(0, 2), (2, 9)]
    """
    cuts = []
    rows = 0
    for number, count in counts:
        rows += count
        if rows >= most:
            cuts.append((since, number))
            since, rows = number, 0
    return [*cuts, (since, until)] if rows or not cuts else [*cuts[:-1], (cuts[-1][0], until)]


@dataclass(frozen=True, slots=True)
class Seal:
    """One link: batches after the last seal's `until_seq` up to its own, and cut-offs likewise."""

    seal_no: int
    until_seq: int
    until_cut_off_id: int
    previous: bytes
    digest: bytes

    @property
    def head(self) -> str:
        """What vouches for this seal and all before it: its number and digest."""
        return f"{self.seal_no}:{self.digest.hex()}"


def link(previous: Seal | None, until: tuple[int, int], parts: Iterable[SealPart]) -> Seal:
    """The seal after `previous`, up to (batch, cut-off)."""
    number = previous.seal_no + 1 if previous else 1
    before = previous.digest if previous else FIRST
    return Seal(number, *until, before, seal_digest(number, until, before, parts))


def seal_digest(
    number: int, until: tuple[int, int], previous: bytes, parts: Iterable[SealPart]
) -> bytes:
    """The SHA-256 that a seal must have."""
    lines = sorted(
        f"{part.table};{part.stored_day or ''};{part.rows};{part.digest.hex()};{part.columns}"
        for part in parts
    )
    said = [previous.hex(), f"{number};{until[0]};{until[1]}", *lines]
    return sha256("\n".join(said).encode()).digest()


@dataclass(frozen=True, slots=True)
class Tampering:
    """What is not as it was sealed: which table, which stretch of batches, and how."""

    table: str
    where: str
    name: str
    expected: str
    stored: str


def broken_links(seals: Sequence[Seal], parts: Mapping[int, Sequence[SealPart]]) -> list[Tampering]:
    """Seals that are missing, or whose digest is not that of their parts and of the seal before."""
    broken = []
    before = FIRST
    for number, seal in enumerate(seals, start=1):
        if seal.seal_no != number:
            broken.append(
                Tampering("seal", f"seal {number}", "seal_no", str(number), str(seal.seal_no))
            )
            return broken
        until = seal.until_seq, seal.until_cut_off_id
        wanted = seal_digest(number, until, before, parts.get(number, ()))
        if wanted != seal.digest or seal.previous != before:
            broken.append(
                Tampering("seal", f"seal {number}", "digest", wanted.hex(), seal.digest.hex())
            )
        before = seal.digest
    return broken


def unlike_parts(
    table: str,
    stretch: str,
    sealed: Mapping[date | None, SealPart],
    stored: Mapping[date | None, tuple[int, bytes]],
) -> list[Tampering]:
    """Days of one seal and table whose rows are not those that were sealed."""
    tampered = []
    for day in sorted(sealed.keys() | stored.keys(), key=lambda stored_day: stored_day or date.min):
        part, (rows, digest) = sealed.get(day), stored.get(day, (0, b""))
        where = f"{stretch} of {day}" if day else stretch
        if rows != (part.rows if part else 0):
            expected = str(part.rows) if part else "0"
            tampered.append(Tampering(table, where, "rows", expected, str(rows)))
        elif part is not None and digest != part.digest:
            tampered.append(Tampering(table, where, "digest", part.digest.hex(), digest.hex()))
    return tampered


def read_head(text: str) -> tuple[int, bytes]:
    """Number and digest of a head as it was printed; InvalidInputError where it is none."""
    number, _, digest = text.strip().partition(":")
    try:
        read = int(number), bytes.fromhex(digest)
    except ValueError:
        read = 0, b""
    if read[0] < 1 or len(read[1]) != 32:
        raise InvalidInputError(
            f"{text[:80]!r} is not a head of the chain.",
            "Give what `tokenledger check --head` printed: a number, a colon, 64 digits.",
        )
    return read


def unlike_head(seals: Sequence[Seal], text: str) -> list[Tampering]:
    """Whether the chain still has a head that was kept elsewhere; nothing where it has."""
    number, digest = read_head(text)
    stored = {seal.seal_no: seal.digest.hex() for seal in seals}.get(number, "no such seal")
    if stored == digest.hex():
        return []
    return [Tampering("seal", f"seal {number}", "head", digest.hex(), stored)]
