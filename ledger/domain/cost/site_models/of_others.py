"""Costs that follow from other costs of the site: taxes, and bills that come later."""

from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

from ledger.domain.apportion import units_of
from ledger.domain.cost.site_models.span import UNITS, SiteSpan, units
from ledger.domain.money import divide_half_even
from ledger.wire.site_inputs import BillTerms, PercentTerms


class Percentage:
    """So many per cent of what other kinds of cost came to."""

    rank: ClassVar[int] = 1
    by_month: ClassVar[bool] = True

    def __init__(self, terms: PercentTerms) -> None:
        self.of: Sequence[str] = terms.of
        self._percent = Fraction(terms.percent)

    def up_to(self, span: SiteSpan) -> int:
        """See `SiteCostModel`."""
        base = sum(span.came_to(self.of, span.period.start, span.until))
        return units(self._percent * Fraction(base, 100 * UNITS))


class Bill:
    """What was billed beyond what the costs it is `of` came to, in proportion to each day's."""

    rank: ClassVar[int] = 2
    by_month: ClassVar[bool] = False

    def __init__(self, terms: BillTerms) -> None:
        self.of: Sequence[str] = terms.of
        self._billed = units_of(terms.amount)

    def up_to(self, span: SiteSpan) -> int:
        """See `SiteCostModel`."""
        whole = span.came_to(self.of, span.period.start, span.period.end)
        difference = self._billed - sum(whole)
        so_far = len(span.came_to(self.of, span.period.start, span.until))
        weights = whole if sum(whole) > 0 and min(whole) >= 0 else [1] * len(whole)
        return divide_half_even(difference * sum(weights[:so_far]), sum(weights))
