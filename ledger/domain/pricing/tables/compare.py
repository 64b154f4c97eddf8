"""A price table against what a rate card says already: what is new, rose, fell and vanished."""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from ledger.domain.errors import InvalidInputError
from ledger.domain.money import multiply, plain
from ledger.domain.pricing.tables.row import PricedUsage
from ledger.domain.pricing.tables.rules import HeldRow, PriceTable

# A price that moves further is looked at first; further still, and a table is in another unit. From
# the cheapest model that is sold to the dearest it is some fifty thousand times.
JUMP, UNIT_JUMP, MODEL_JUMP = 5, 1_000, 100_000
JUMP_RULE, KIND_RULE = "jump", "kind"


@dataclass(frozen=True, slots=True)
class PriceMove:
    """What usage costs for a million tokens by the card and by the table; None is not at all."""

    usage: PricedUsage
    before: Decimal | None
    after: Decimal | None

    @property
    def kind(self) -> str:
        """What became of the price: new, vanished, rose or fell."""
        if self.before is None:
            return "new"
        if self.after is None:
            return "vanished"
        return "rose" if self.after > self.before else "fell"

    def is_beyond(self, times: int) -> bool:
        """Whether a known price went up or down by more than so many times."""
        if self.before is None or self.after is None:
            return False
        return _moved_beyond(self.before, self.after, times)


def is_other_unit(before: Decimal, after: Decimal, times: int = UNIT_JUMP) -> bool:
    """Whether a price that is not for nothing moved as only one does whose unit changed."""
    return bool(before and after) and _moved_beyond(before, after, times)


def _moved_beyond(before: Decimal, after: Decimal, times: int) -> bool:
    low, high = sorted((before, after))
    return high > multiply(low, times)


@dataclass(frozen=True, slots=True)
class TableComparison:
    """What a table changes of a card; what is held stays as the card says."""

    moves: tuple[PriceMove, ...]
    held: tuple[HeldRow, ...]
    unchanged: int

    @property
    def written(self) -> tuple[PriceMove, ...]:
        """What is entered: all but what vanished, which stays until somebody ends it."""
        return tuple(move for move in self.moves if move.after is not None)


def compare_table(
    recorded: Mapping[PricedUsage, Decimal | None], table: PriceTable, accepted: Set[str]
) -> TableComparison:
    """How a table differs from the prices of a card; `recorded` None is a price of another kind.

    InvalidInputError where most prices moved as if the unit had.
    """
    held_models = {each.model for each in table.held}
    moves = [
        PriceMove(usage, recorded.get(usage), table.prices.get(usage))
        for usage in sorted(recorded.keys() | table.prices.keys())
        if recorded.get(usage) != table.prices.get(usage) and usage.model not in held_models
    ]
    _check_unit(moves, sum(usage in table.prices for usage in recorded))
    kept: list[PriceMove] = []
    held = list(table.held)
    for _, group in groupby(moves, key=lambda move: move.usage.model):
        of_model = list(group)
        why = next(_oddities(of_model, recorded, accepted), None)
        if why is None:
            kept += of_model
        else:
            held.append(why)
    both = sum(recorded[usage] == table.prices.get(usage) for usage in recorded)
    return TableComparison(tuple(kept), tuple(held), both)


def _oddities(
    moves: Iterable[PriceMove],
    recorded: Mapping[PricedUsage, Decimal | None],
    accepted: Set[str],
) -> Iterator[HeldRow]:
    for move in moves:
        model, meter = move.usage.model, move.usage.meter
        if move.usage in recorded and move.before is None:
            yield HeldRow(model, KIND_RULE, f"the card prices {meter} by another kind")
        if JUMP_RULE not in accepted and move.is_beyond(JUMP):
            assert move.before is not None
            assert move.after is not None
            before, after = plain(move.before), plain(move.after)
            yield HeldRow(model, JUMP_RULE, f"{meter} went from {before} to {after}")


def _check_unit(moves: Iterable[PriceMove], compared: int) -> None:
    far = [m for m in moves if m.before and m.after and is_other_unit(m.before, m.after)]
    if far and 2 * len(far) >= compared:
        before, after = far[0].before, far[0].after
        assert before is not None
        assert after is not None
        raise InvalidInputError(
            f"{len(far):,} of {compared:,} prices moved by over {UNIT_JUMP:,} times, like"
            f" {far[0].usage.model} {far[0].usage.meter} from {plain(before)} to {plain(after)}:"
            " the unit changed.",
            "Name a table in the unit that the command reads, or another card.",
        )
