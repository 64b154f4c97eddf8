"""What a utility asked for beside what its site was said to take: where they part is an error."""

from dataclasses import dataclass
from decimal import Decimal

from ledger.domain.cost.margin import percent
from ledger.domain.money import EXACT, multiply
from ledger.domain.period import Period
from ledger.wire.units import MJ_PER_KWH

# Meters of site and utility agree within 2 %, and boards of a site within 5 %: what is further off
# has a cause, such as a PUE, a tariff or hardware that nobody entered.
TOLERANCE_PCT = Decimal(5)
# So far off it is another unit, or the bill of another site.
UNIT_JUMP = 100


@dataclass(frozen=True, slots=True)
class UtilityBill:
    """A bill for whole local days of a site; `net` is without `tax`."""

    bill_id: str
    facility_id: str
    currency: str
    kwh: Decimal
    net: Decimal
    tax: Decimal
    covers: tuple[str, ...]
    reference: str
    final: bool
    period: Period


@dataclass(frozen=True, slots=True)
class BillComparison:
    """A bill beside the site's energy in mJ and what the costs it covers were accrued at, which is
    unknown of energy that no reading told of."""

    bill: UtilityBill
    metered_mj: int
    accrued: Decimal
    days: int
    days_without_readings: int

    @property
    def energy_off_pct(self) -> Decimal | None:
        """By how much the billed kWh are more than the metered ones; None where nothing was."""
        billed = multiply(self.bill.kwh, MJ_PER_KWH)
        return percent(EXACT.subtract(billed, Decimal(self.metered_mj)), Decimal(self.metered_mj))

    @property
    def difference(self) -> Decimal:
        """What is billed beyond what was accrued."""
        return EXACT.subtract(self.bill.net, self.accrued)

    @property
    def amount_off_pct(self) -> Decimal | None:
        """The difference in per cent of what was accrued; None where nothing was."""
        return percent(self.difference, self.accrued)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is wrong with it, by name; empty where both are within the tolerance."""
        said = {
            "no_readings": self.metered_mj == 0,
            "days_without_readings": 0 < self.days_without_readings < self.days,
            "energy_off": _is_off(self.energy_off_pct),
            "amount_off": _is_off(self.amount_off_pct),
            "nothing_accrued": self.accrued == 0 and self.bill.net != 0,
        }
        return tuple(name for name, is_so in said.items() if is_so)


def is_other_unit(kwh: Decimal, metered_mj: int) -> bool:
    """Whether kWh are so far from metered energy that their unit is another."""
    billed, metered = multiply(kwh, MJ_PER_KWH), Decimal(metered_mj)
    low, high = sorted((billed, metered))
    return metered > 0 and high >= multiply(low, UNIT_JUMP)


def _is_off(pct: Decimal | None) -> bool:
    return pct is not None and abs(pct) > TOLERANCE_PCT
