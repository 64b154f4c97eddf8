"""Tiers of a price: which units of a period cost what, from the first unit on without a gap."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ledger.domain.money import ZERO
from ledger.domain.pricing.price_model import (
    ExactDecimal,
    PowerOfTen,
    PriceModel,
    PricePart,
    Units,
    WholeAmount,
    check_per,
)


class Tier(BaseModel):
    """Units behind the first `start` up to `end` (None: all) at `amount`, and `flat` once where any
    of them is used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: Units
    end: Units | None = None
    amount: ExactDecimal
    flat: WholeAmount = ZERO

    @property
    def name(self) -> str:
        """Which units, as a reader of an invoice understands it."""
        if self.end is None:
            return f"above {self.start:,}" if self.start else "all units"
        return f"{self.start:,} to {self.end:,}" if self.start else f"first {self.end:,}"


class Tiered(PriceModel):
    """Base of prices with tiers; each `amount` is for `per` units."""

    tiers: Annotated[tuple[Tier, ...], Field(min_length=1, max_length=100)]
    per: PowerOfTen = 1_000_000

    def model_post_init(self, _context: object) -> None:
        for tier in self.tiers:
            check_per(tier.amount, self.per)
        check_tiers(self.tiers)

    def in_tier(self, tier: Tier, quantity: int) -> Iterator[PricePart]:
        """Units at a tier's price, and its flat amount; nothing for no units."""
        if quantity:
            yield PricePart(tier.name, quantity, tier.amount, self.per)
        if quantity and tier.flat:
            yield PricePart(f"{tier.name}, flat", 1, tier.flat)


def check_tiers(tiers: Sequence[Tier]) -> None:
    """ValueError unless tiers begin at zero, follow one another without gap or overlap, and the
    last is open."""
    if tiers[0].start != 0:
        raise ValueError(f"tiers: the first starts at {tiers[0].start}, not at 0")
    for before, after in pairwise(tiers):
        if before.end is None or before.end > after.start:
            end = "without end" if before.end is None else f"to {before.end}"
            raise ValueError(
                f"tiers: {before.start} {end} overlaps the next, which starts at {after.start}"
            )
        if before.end < after.start:
            raise ValueError(f"tiers: nothing is said from {before.end} to {after.start}")
        if before.end <= before.start:
            raise ValueError(f"tiers: {before.start} to {before.end} is empty")
    if tiers[-1].end is not None:
        raise ValueError(f"tiers: nothing is said above {tiers[-1].end}")
