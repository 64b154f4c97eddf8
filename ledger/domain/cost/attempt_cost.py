"""What each attempt of a usage key took of its line in a window, by its own weights and times.

Invariant: the parts of a line's attempts add up to the line, in mJ and in 1e-12 of the currency.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from ledger.domain.apportion import apportion
from ledger.domain.cost.served import Served
from ledger.domain.cost.share import SHARES, Share
from ledger.domain.cost.slots import SlotWork
from ledger.domain.cost.window_cost import Serving
from ledger.domain.metering.spread import INPUT_METERS

# What tells attempts of a key apart. Those that are alike in it are told together.
CONTENT = ("engine_key_id", "start", "read", "wrote", "end", *INPUT_METERS, "output", "context")


@dataclass(frozen=True, slots=True)
class AttemptPart:
    """What attempts that are alike took of a window, `alike` of them in all, 0 where all of them
    were taken back; `slots` is what they weigh of each slot in which they ran, out of WHOLE."""

    content: tuple[int, ...]
    alike: int
    taken: Share
    slots: Mapping[int, int]

    def one(self) -> Share:
        """What one of them took; what division leaves is the first one's."""
        return self.taken.split([1] * self.alike)[0] if self.alike > 0 else Share()


def parts_of_line(engines: Sequence[Serving], usage_key_id: int, line: Share) -> list[AttemptPart]:
    """What each of a key's attempts in a window took of the key's line there, whichever of a
    deployment's engines it ran on."""
    apart = [part for engine in engines for part in _apart(engine, usage_key_id)]
    if not apart:
        return []
    shares = _split(line, [part.taken for part in apart], [part.alike for part in apart])
    return [replace(part, taken=share) for part, share in zip(apart, shares, strict=True)]


def _apart(serving: Serving, usage_key_id: int) -> list[AttemptPart]:
    """What each of a key's attempts took where all of them are keys of their own."""
    if serving.served is None:
        return []
    mine = pl.col("usage_key_id") == usage_key_id
    served = serving.served.frame()
    alike = served.filter(mine).group_by(CONTENT).agg(pl.col("sign").sum()).sort(CONTENT)
    if alike.is_empty():
        return []
    work, numbers = _weighed_apart(serving, served, alike, usage_key_id)
    amounts = _amounts(serving, work, numbers)
    return [
        AttemptPart(tuple(row[:-1]), row[-1], amount, work.slots_of(number))
        for row, amount, number in zip(alike.iter_rows(), amounts, numbers, strict=True)
    ]


def _weighed_apart(
    serving: Serving, served: pl.DataFrame, alike: pl.DataFrame, usage_key_id: int
) -> tuple[SlotWork, range]:
    """The work of the window with a key's attempts as keys of their own, and the numbers of these;
    other keys are numbered below them."""
    first = served.height + 1
    numbered = alike.select(CONTENT).with_row_index("number", first)
    apart = served.join(numbered, on=CONTENT, how="left").with_columns(
        usage_key_id=pl.when(pl.col("usage_key_id") == usage_key_id)
        .then(pl.col("number").cast(pl.Int64))
        .otherwise(pl.col("usage_key_id").rank("dense").cast(pl.Int64))
    )
    return serving.weigh(Served.of(apart)), range(first, first + alike.height)


def _amounts(serving: Serving, work: SlotWork, numbers: Sequence[int]) -> list[Share]:
    there = {number: Share(*parts) for number, *parts in serving.allocate(work).taken.rows()}
    return [there.get(number, Share()) for number in numbers]


def _split(line: Share, amounts: Sequence[Share], alike: Sequence[int]) -> list[Share]:
    """The line by what its attempts come to apart, which differs from it by what division leaves;
    by how many they are where that is nothing."""
    there = [max(count, 0) for count in alike]
    even = there if any(there) else [1] * len(there)
    columns = []
    for name, whole in zip(SHARES, line.parts(), strict=True):
        at = SHARES.index(name)
        weights = [abs(amount.parts()[at]) for amount in amounts]
        columns.append(apportion(whole, weights if any(weights) else even))
    return [Share(*row) for row in zip(*columns, strict=True)]
