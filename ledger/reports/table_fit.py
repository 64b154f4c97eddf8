"""Chooses the columns of a table that fit a width, so that no number or name is ever broken."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

# What a border and two blanks take beside each column.
BESIDE = 3
# Only a text longer than this may be folded, and never to less than the other.
LONG, FOLDED = 40, 24


@dataclass(frozen=True, slots=True)
class Fitted:
    """The columns shown, with their widths, and those left out."""

    shown: tuple[int, ...]
    widths: tuple[int, ...]
    dropped: tuple[int, ...]


def fit_columns(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None,
    *,
    first: Sequence[str] = (),
    numbers: Collection[int] = (),
) -> Fitted:
    """Columns for `width` characters (None: all of them).

    Kept longest are those named by `first`, in its order; of the others the rightmost goes first,
    and the first column of all stays.
    """
    shown = list(range(len(headers)))
    needed = [_needed(headers, rows, index, numbers) for index in shown]
    natural = [_natural(headers, rows, index) for index in shown]
    if width is None:
        return Fitted(tuple(shown), tuple(natural), ())
    dropped = []
    for index in _least_important(headers, first):
        if sum(needed[each] + BESIDE for each in shown) + 1 <= width:
            break
        shown.remove(index)
        dropped.append(index)
    spare = width - 1 - sum(needed[each] + BESIDE for each in shown)
    widths = []
    for each in shown:
        more = min(max(spare, 0), natural[each] - needed[each])
        widths.append(needed[each] + more)
        spare -= more
    return Fitted(tuple(shown), tuple(widths), tuple(sorted(dropped)))


def _least_important(headers: Sequence[str], first: Sequence[str]) -> list[int]:
    rank = {name: index for index, name in enumerate(first)}
    order = sorted(range(1, len(headers)), key=lambda i: (rank.get(headers[i], len(first)), i))
    return order[::-1]


def _natural(headers: Sequence[str], rows: Sequence[Sequence[str]], index: int) -> int:
    return max([cell_len(headers[index]), *(_widest_line(row[index]) for row in rows)])


def _needed(
    headers: Sequence[str], rows: Sequence[Sequence[str]], index: int, numbers: Collection[int]
) -> int:
    """The least width: of the header its longest word, of a cell all of it unless it is long."""
    word = max((cell_len(word) for word in headers[index].split()), default=0)
    cells = max((_widest_line(row[index]) for row in rows), default=0)
    foldable = index not in numbers and cells > LONG
    return max(word, FOLDED if foldable else cells)


def _widest_line(text: str) -> int:
    return max((cell_len(line) for line in text.split("\n")), default=0)
