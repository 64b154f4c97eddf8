"""Brings amounts of one currency into another by a published rate, exactly but for one rounding."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ledger.domain.errors import MissingInputError
from ledger.domain.money import ROUNDING, multiply, plain, round_cost

# Rates are published on working days: the longest run of holidays is shorter than this.
CARRIED_DAYS = 10


@dataclass(frozen=True, slots=True)
class Conversion:
    """A published rate that was used: `base` × `multiplier` ÷ `divisor` is `quote`."""

    base: str
    quote: str
    published: date
    multiplier: Decimal
    divisor: Decimal
    source: str

    def of(self, amount: Decimal) -> Decimal:
        """The amount in `quote`, rounded once to 1e-12."""
        return round_cost(ROUNDING.divide(multiply(amount, self.multiplier), self.divisor))

    @property
    def rate(self) -> str:
        """What one `base` is in `quote`, as it was published: `0.9127`, or `1 ÷ 1.0956`."""
        factor = plain(self.multiplier.normalize(ROUNDING))
        return (
            factor if self.divisor == 1 else f"{factor} ÷ {plain(self.divisor.normalize(ROUNDING))}"
        )


def no_rate(what: str, base: str, quote: str, day: date, more: str = "") -> MissingInputError:
    """The refusal of what no rate published by then converts."""
    return MissingInputError(
        f"{what}: missing is the exchange rate {base}/{quote} of {day.isoformat()}, or one of the"
        f" {CARRIED_DAYS} days before{more}.",
        "Import the rates of those days: tokenledger import fx FILE.",
        where=f"{base}/{quote}",
    )
