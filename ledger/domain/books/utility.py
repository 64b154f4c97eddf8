"""Turns a day of a utility's bill into postings."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ledger.domain.apportion import apportion_amount, units_of
from ledger.domain.books.journal import Posting, merged
from ledger.domain.money import EXACT, total
from ledger.wire.site_inputs import UTILITY_BILL

# Where nothing was accrued that a difference could follow, it is of the site.
OF_THE_SITE = "5020"


@dataclass(frozen=True, slots=True)
class BilledDay:
    """What a day was accrued at, by the account that carries it (5300 for costs of the site), what
    its bill is beyond that, and tax that falls on it."""

    currency: str
    accrued: Mapping[str, Decimal]
    variance: Decimal
    tax: Decimal


def accounts_of(
    electricity: Iterable[tuple[str, Decimal, Decimal]], sites: Decimal
) -> dict[str, Decimal]:
    """What each account carries of a day: (line, device, overhead) of energy, and site costs."""
    sums: dict[str, list[Decimal]] = defaultdict(list)
    for line, device, overhead in electricity:
        own = {"usage": "5000", "idle": "5010"}.get(line, "5900")
        sums[own].append(device)
        sums["5900" if own == "5900" else OF_THE_SITE].append(overhead)
    sums["5300"].append(sites)
    return {account: total(amounts) for account, amounts in sums.items()}


def utility_billed(day: BilledDay) -> tuple[Posting, ...]:
    """What was accrued on 2100 and 2150 is owed on 2000, the difference an expense as accrued."""
    sites = day.accrued.get("5300", Decimal(0))
    energy = total([amount for account, amount in day.accrued.items() if account != "5300"])
    owed = total([energy, sites, day.variance, day.tax])
    variance = (
        Posting(account, amount, day.currency, dimension=UTILITY_BILL)
        for account, amount in _split(day)
    )
    return merged(
        (
            Posting("2100", energy, day.currency),
            Posting("2150", sites, day.currency),
            *variance,
            Posting("1200", day.tax, day.currency),
            Posting("2000", EXACT.minus(owed), day.currency),
        )
    )


def _split(day: BilledDay) -> list[tuple[str, Decimal]]:
    accounts = sorted(day.accrued)
    weights = [units_of(day.accrued[account]) for account in accounts]
    if sum(weights) <= 0 or min(weights) < 0:
        return [(OF_THE_SITE, day.variance)]
    return list(zip(accounts, apportion_amount(day.variance, weights), strict=True))
