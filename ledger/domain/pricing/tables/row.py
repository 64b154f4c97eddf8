"""What a price table says of a model, whatever its shape was."""

from dataclasses import dataclass
from decimal import Decimal, DecimalException

from ledger.domain.money import EXACT
from ledger.domain.pricing.rate_card import UNASKED_METERS
from ledger.wire.extras import EXTRAS

# A table's amounts are for so many tokens once they are read.
PER = 1_000_000
PER_DIGITS = len(str(PER)) - 1
_PER = {"input_characters": PER, "storage_mb_days": 1_000}
# Beyond these a number is a slip in any currency, and arithmetic on it takes its time.
_EXPONENTS = range(-40, 20)


def per_of(meter: str) -> int:
    """For how many units people say a price: a million tokens or characters, a second, a gigabyte
    for a day, or each of all others."""
    if meter in _PER:
        return _PER[meter]
    if meter.endswith("_ms"):
        return 1_000
    extra = EXTRAS.get(meter)
    beside = extra.of is None if extra else meter in UNASKED_METERS
    return 1 if beside else PER


class UnreadableError(ValueError):
    """A table says something that is no price."""


@dataclass(frozen=True, slots=True, order=True)
class PricedUsage:
    """What usage of which model a price of a table is for; empty tier is any, 0 any context."""

    model: str
    meter: str
    tier: str = ""
    band_from: int = 0


@dataclass(frozen=True, slots=True)
class TableRow:
    """The prices of a model for a million units each; `left_out` names what no meter counts.

    `generates`: its output is what is paid for, so that output for nothing is odd. `reads_text`:
    its tokens are of text alone, whatever else it takes. `unreadable` says why the row cannot be
    read.
    """

    model: str
    prices: dict[PricedUsage, Decimal]
    left_out: tuple[str, ...] = ()
    generates: bool = False
    reads_text: bool = False
    unreadable: str = ""


def read_amount(value: object, *, digits: int = 0) -> Decimal:
    """A number of a table times ten to the `digits`, exactly; UnreadableError for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise UnreadableError(f"{value!r:.40} is no number")
    try:
        amount = EXACT.create_decimal(value)
    except (DecimalException, ValueError):
        raise UnreadableError(f"{value!r:.40} is no number") from None
    if not amount.is_finite() or (amount and amount.adjusted() not in _EXPONENTS):
        raise UnreadableError(f"{value!r:.40} is no price")
    return amount.scaleb(digits, EXACT)


def add_price(prices: dict[PricedUsage, Decimal], usage: PricedUsage, amount: Decimal) -> None:
    """Take a price in; UnreadableError where the row says another of the same usage."""
    if prices.setdefault(usage, amount) != amount:
        raise UnreadableError(f"it says two prices of {usage.meter}")
